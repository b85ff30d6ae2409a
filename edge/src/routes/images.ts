/** `GET /v1/images`: what the connected runners of the key's region can boot. */

import type { KeyCall } from '../call.ts'
import { reach } from '../platform-errors.ts'

export async function images({ objects, principal }: KeyCall): Promise<Response> {
  return Response.json({ images: await reach('list images', objects.region(principal.region).images()) })
}
