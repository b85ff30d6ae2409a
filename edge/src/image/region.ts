/**
 * What a region's runners can boot and what of their policy callers are told. All accounts share the region's object, so an isolate asks
 * it once in 10 s, whoever calls.
 */

import type { RunnerPolicy } from '@portico/shared/control'
import type { Services } from '../call.ts'
import { reach } from '../platform-errors.ts'
import type { Objects } from '../ports.ts'

/** How long an isolate goes by what a region said. */
export const imagesKnownMs = 10_000

interface Asked<Cache extends keyof Services> {
  readonly objects: Objects
  readonly services: Pick<Services, Cache>
}

/** Names that a connected runner of the region can boot, in alphabetical order. */
export async function imagesOf({ objects, services }: Asked<'images'>, region: string): Promise<readonly string[]> {
  const known = services.images.get(region)
  if (known !== undefined) return known
  const images = await reach('list images', objects.region(region).images())
  services.images.set(region, images)
  return images
}

/** The region's policy; null where none of its runners states one. */
export async function policyOf({ objects, services }: Asked<'policies'>, region: string): Promise<RunnerPolicy | null> {
  const known = services.policies.get(region)
  if (known !== undefined) return known
  const policy = await reach('read the policy of the region', objects.region(region).policy())
  services.policies.set(region, policy)
  return policy
}
