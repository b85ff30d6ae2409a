/**
 * Images for container services: each is brought into a guest once, as the file that machines of that image are booted from, and kept there by its
 * digest. The guest's disk is what says whether it is there; nothing of it is remembered here but transfers under way, so that calls at the same
 * time share one.
 */

import type { Readable } from 'node:stream'
import { deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { guestError } from '@portico/shared/guest'
import { z } from 'zod'
import type { GuestRequest, GuestResponse } from '../guest/http.ts'
import { maxOwnBody } from '../guest/limits.ts'
import type { Brought } from '../policy/host-images.ts'
import type { VmImage, VmImages } from '../vm/images.ts'

/** What a container of an image starts with. */
export interface ContainerImage {
  readonly digest: string
  readonly env: Readonly<Record<string, string>>
  readonly workdir: string
}

export interface ContainerImagesOptions {
  readonly images: Pick<VmImages, 'get'>
  /** An image by any name that callers may use, pulled if need be. */
  readonly bring: (image: string, signal: AbortSignal) => Promise<Brought>
  /** One request to the agent of a sandbox. */
  readonly request: (id: string, generation: number, asked: GuestRequest) => Promise<GuestResponse>
}

/** Some hundred MiB through an emulated machine's channel. */
const bringLimitMs = 10 * 60_000

const never = new AbortController().signal

const presence = z.object({ present: z.boolean() })

export class ContainerImages {
  readonly #options: ContainerImagesOptions
  readonly #underWay = new Map<string, Promise<void>>()

  constructor(options: ContainerImagesOptions) {
    this.#options = options
  }

  /** Resolves when the image is in the sandbox. */
  async bring(id: string, generation: number, name: string, caller = never): Promise<ContainerImage> {
    using pulling = deadline(bringLimitMs, 'pull the image', caller)
    using brought = await this.#options.bring(name, pulling)
    const image = this.#options.images.get(brought.name)
    if (!image)
      throw new AppError('image_unknown', `cannot bring the image into the sandbox: there is no image ${name}`)
    const { digest } = image
    const key = JSON.stringify([id, generation, digest])
    let bringing = this.#underWay.get(key)
    if (!bringing) {
      bringing = this.#bring(id, generation, image, digest).finally(() => this.#underWay.delete(key))
      this.#underWay.set(key, bringing)
    }
    await bringing
    return { digest, env: image.env, workdir: image.workdir || '/' }
  }

  async #bring(id: string, generation: number, image: VmImage, digest: string): Promise<void> {
    using signal = deadline(bringLimitMs, 'bring the image into the sandbox')
    const ask = async (rest: Pick<GuestRequest, 'method' | 'headers' | 'body'>) => {
      const path = `/images?digest=${encodeURIComponent(digest)}`
      return await presenceOf(await this.#options.request(id, generation, { path, signal, ...rest }))
    }
    if (await ask({ method: 'GET' })) return
    const { size, content } = await image.open()
    try {
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) }
      if (await ask({ method: 'PUT', headers, body: content as Readable & AsyncIterable<Uint8Array> })) return
      throw new AppError('guest_error', 'cannot bring the image into the sandbox: its agent does not keep it')
    } finally {
      content.destroy()
    }
  }
}

/** What the agent says of an image. A full disk and a sandbox that has no containers are the caller's to know. */
async function presenceOf(response: GuestResponse): Promise<boolean> {
  const value = parse(await readAll(response.body))
  if (response.status === 200) {
    const said = presence.safeParse(value)
    if (said.success) return said.data.present
    throw new AppError('guest_error', "cannot bring the image into the sandbox: its agent's answer is malformed")
  }
  const { code, message } = guestError.safeParse(value).data?.error ?? { code: '', message: String(response.status) }
  if (code === 'not_found')
    throw new AppError('unsupported', 'cannot bring the image into the sandbox: its agent is older than containers')
  throw new AppError(
    code === 'no_space' || code === 'unsupported' ? code : 'guest_error',
    `cannot bring the image into the sandbox: its agent says: ${message}`,
  )
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const bytes of body) {
    size += bytes.length
    if (size > maxOwnBody)
      throw new AppError('guest_error', "cannot bring the image into the sandbox: its agent's answer is too long")
    parts.push(bytes)
  }
  return Buffer.concat(parts).toString('utf8')
}
