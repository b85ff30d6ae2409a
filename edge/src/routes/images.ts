/** `/v1/images…`: what the runners of the key's region can boot, and the account's own images, pulled or built. */

import {
  buildImageRequest,
  type ImageList,
  type ImageRecord,
  type ImageRequest,
  pullImageRequest,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newImageId } from '@portico/shared/ids'
import { z } from 'zod'
import type { Call, KeyCall } from '../call.ts'
import { imageFetcher } from '../durable/objects.ts'
import { readAnswer } from '../guest/wire.ts'
import { eventsRequest } from '../image/events-wire.ts'
import { imagesOf, policyOf } from '../image/region.ts'
import { isPullRequest } from '../image/state.ts'
import { once } from '../middleware/idempotency.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { AccountPort } from '../ports.ts'
import { outputHeaders } from '../process/follow.ts'

interface ImageBody {
  readonly request: ImageRequest
  /** What of a build's machine was asked for. */
  readonly machine: z.output<typeof askedMachine>
}

const { vcpus, mem_mib, disk_mib } = buildImageRequest.shape
const askedMachine = z.object({
  vcpus: vcpus.unwrap().exactOptional(),
  mem_mib: mem_mib.unwrap().exactOptional(),
  disk_mib: disk_mib.unwrap().exactOptional(),
})

/** Either request, told apart by what only a pull has, so that what is wrong is said of the one that was meant. */
export const imageBody = z.unknown().transform((body, context): ImageBody => {
  const isPull = typeof body === 'object' && body !== null && 'reference' in body
  const parsed = (isPull ? pullImageRequest : buildImageRequest).safeParse(body)
  if (parsed.success) return { request: parsed.data, machine: isPull ? {} : askedMachine.parse(body) }
  for (const { message, path } of parsed.error.issues) context.addIssue({ code: 'custom', message, path: [...path] })
  return z.NEVER
})

/** With the files of a build. */
export const mostBodyBytes = 8 * 2 ** 20

/** `GET /v1/images` */
export async function listImages(call: KeyCall): Promise<Response> {
  const { region } = call.principal
  const [images, own] = await Promise.all([
    imagesOf(call, region),
    reach('list images', accountOf(call).images(region)),
  ])
  return Response.json({ images: [...images], own } satisfies ImageList)
}

/** `POST /v1/images` */
export async function makeImage(call: Call<'key', ImageBody>): Promise<Response> {
  const { body, principal, objects } = call
  const { request, machine } = body
  await assertFree(call, request)
  return once(call, [newImageId()], async ([image = '']) => {
    const begun = objects.image(image, principal.region).begin({ ...principal, image, request, machine })
    const record: ImageRecord = unwrap(await reach(actionOf(request), begun))
    return Response.json(record, { status: 202 })
  })
}

/** `GET /v1/images/{image}` */
export async function readImage(call: KeyCall): Promise<Response> {
  return Response.json((await find(call)) satisfies ImageRecord)
}

/** `DELETE /v1/images/{image}` */
export async function deleteImage(call: KeyCall): Promise<Response> {
  const deleted = accountOf(call).deleteImage(call.principal.region, call.parameter('image'))
  const { id } = unwrap(await reach('delete the image', deleted))
  return Response.json({ id, status: 'deleted' })
}

/** `GET /v1/images/{image}/events` */
export async function imageEvents(call: KeyCall): Promise<Response> {
  const { env, principal, request } = call
  const { id } = await find(call)
  const after = Number(request.headers.get('last-event-id') ?? 0)
  if (!Number.isSafeInteger(after) || after < 0) {
    throw new AppError('invalid_request', 'cannot follow the image: Last-Event-ID is the number of an event')
  }
  const [url, init] = eventsRequest({ ...principal, after }, request.signal)
  const events = await readAnswer(await reach('follow the image', imageFetcher(env, id).fetch(url, init)))
  return new Response(events.body, { headers: outputHeaders('text/event-stream') })
}

/** A name that the region's runners have means the same for everybody. */
async function assertFree(call: KeyCall, request: ImageRequest): Promise<void> {
  const { name, tag } = request
  if (name === undefined) {
    if (tag === undefined) return
    throw new AppError('invalid_request', `cannot ${actionOf(request)}: tag: a tag is of a name, and there is none`)
  }
  const { region } = call.principal
  const [images, policy] = await Promise.all([imagesOf(call, region), policyOf(call, region)])
  const taken = new Set([...images, ...(policy?.catalog ?? []).map((entry) => entry.name)])
  for (const one of [name, `${name}:${tag ?? 'latest'}`]) {
    if (!taken.has(one)) continue
    throw new AppError(
      'conflict',
      `cannot ${actionOf(request)}: the region has an image of the name ${one} for everybody`,
    )
  }
}

function actionOf(request: ImageRequest): string {
  return isPullRequest(request) ? 'pull the image' : 'build the image'
}

async function find(call: KeyCall): Promise<ImageRecord> {
  const found = accountOf(call).image(call.principal.region, call.parameter('image'))
  return unwrap(await reach('find the image', found))
}

function accountOf({ objects, principal }: KeyCall): AccountPort {
  return objects.account(principal.account)
}
