/**
 * `GET /v1/images`: what the connected runners of the key's region can boot. All accounts share the region's object, so an isolate asks it
 * once in 10 s, whoever calls.
 */

import type { KeyCall } from '../call.ts'
import { reach } from '../platform-errors.ts'

/** How long an isolate goes by what a region said. */
export const imagesKnownMs = 10_000

export async function images({ objects, principal, services }: KeyCall): Promise<Response> {
  const { region } = principal
  let known = services.images.get(region)
  if (known === undefined) {
    known = await reach('list images', objects.region(region).images())
    services.images.set(region, known)
  }
  return Response.json({ images: known })
}
