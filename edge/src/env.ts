/** What the platform hands to the Worker and its objects. The secrets are checked once, here, so that a deployment without them fails clearly. */

import { AppError } from '@portico/shared/errors'
import { parseRegion } from '@portico/shared/ids'

export interface Env {
  readonly ACCOUNTS: DurableObjectNamespace
  readonly SANDBOXES: DurableObjectNamespace
  readonly RUNNERS: DurableObjectNamespace
  readonly REGIONS: DurableObjectNamespace
  readonly DIRECTORY: DurableObjectNamespace
  /** Signs keys and runner tokens. */
  readonly PORTICO_SECRET: string
  /** Opens `/admin`. Without it nobody may enter. */
  readonly ADMIN_KEY: string
  /** Regions served here, separated by commas. */
  readonly REGIONS_SERVED: string
}

const shortestSecret = 32

/** The signing secret; shorter than 32 characters is a mistake in the deployment. */
export function signingSecret(env: Env): string {
  const secret: unknown = env.PORTICO_SECRET
  if (typeof secret === 'string' && secret.length >= shortestSecret) return secret
  throw new AppError('internal', `cannot check keys: PORTICO_SECRET needs ${shortestSecret} characters or more`)
}

/** The regions served here. */
export function regionsServed(env: Env): readonly string[] {
  const text: unknown = env.REGIONS_SERVED
  const names = typeof text === 'string' ? text.split(',').map((name) => name.trim()) : []
  return names.filter((name) => parseRegion(name) !== undefined)
}
