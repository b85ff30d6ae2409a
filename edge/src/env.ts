/** What the platform hands to the Worker and its objects. The secrets are checked once, here, so that a deployment without them fails clearly. */

import { AppError } from '@portico/shared/errors'
import { parseRegion } from '@portico/shared/ids'

export interface Env {
  readonly ACCOUNTS: DurableObjectNamespace
  readonly SANDBOXES: DurableObjectNamespace
  readonly RUNNERS: DurableObjectNamespace
  readonly REGIONS: DurableObjectNamespace
  readonly DIRECTORY: DurableObjectNamespace
  readonly CONSOLES: DurableObjectNamespace
  readonly KEYRING: DurableObjectNamespace
  readonly IMAGES: DurableObjectNamespace
  readonly III: DurableObjectNamespace
  readonly III_CHANNELS: DurableObjectNamespace
  /** The files of the web page. */
  readonly ASSETS: Fetcher
  /** Signs keys and runner tokens. */
  readonly PORTICO_SECRET: string
  /** The former secret, while it is being replaced: what it signed is still let in. */
  readonly PORTICO_SECRET_PREVIOUS?: string
  /** Opens `/admin`; 32 characters or more. Without it nobody may enter. */
  readonly ADMIN_KEY: string
  /**
   * Where ports of sandboxes are served, such as `https://app.portico.example` for `https://8080-ID.app.portico.example`. Without a port in it, URLs
   * have the one that their caller came to. Without the variable there are no public URLs.
   */
  readonly APP_URL?: string
  /** The same for the older form, `https://ID.sandbox.portico.example/sb/p/8080/`. */
  readonly SANDBOX_URL?: string
  /** The image of sandboxes that are made through the Iris gateway; `python` unless told. */
  readonly IRIS_IMAGE?: string
  /** Regions served here, separated by commas. */
  readonly REGIONS_SERVED: string
  /** Where each region's objects are best made, as `us=enam,eu=weur`; a region without one has them where it is first called from. */
  readonly REGION_HINTS?: string
  /** How long a runner may be away before its sandboxes are unreachable; 30 by default. */
  readonly UNREACHABLE_AFTER_SECONDS?: string
  /** Cents an hour of one vCPU and of one GiB of memory: 2.5 and 1.5 unless told. */
  readonly RATE_VCPU_HOUR_CENTS?: string
  readonly RATE_GIB_HOUR_CENTS?: string
  /** Where spans of creates and execs are sent by OTLP/HTTP, such as `https://collector.example:4318`. Without it none are made. */
  readonly OTEL_EXPORTER_OTLP_ENDPOINT?: string
  /** Headers of those requests, as `name=value,name=value`. */
  readonly OTEL_EXPORTER_OTLP_HEADERS?: string
  /** Limits of accounts that are opened from now on; each may be left out. */
  readonly DEFAULT_LIMIT_SANDBOXES?: string
  readonly DEFAULT_LIMIT_VCPUS?: string
  readonly DEFAULT_LIMIT_MEM_MIB?: string
  readonly DEFAULT_LIMIT_SNAPSHOTS?: string
  readonly DEFAULT_LIMIT_REQUESTS_PER_SECOND?: string
}

const shortestSecret = 32

/** The signing secret; shorter than 32 characters is a mistake in the deployment. */
export function signingSecret(env: Env): string {
  return longEnough('PORTICO_SECRET', env.PORTICO_SECRET)
}

/** What a token may be signed with: the secret in force first, then the former one, if it still counts. */
export function acceptedSecrets(env: Env): readonly string[] {
  const previous: unknown = env.PORTICO_SECRET_PREVIOUS
  if (previous === undefined || previous === '') return [signingSecret(env)]
  return [signingSecret(env), longEnough('PORTICO_SECRET_PREVIOUS', previous)]
}

/** What opens `/admin`, if anything does; one that is too short is a mistake in the deployment and opens nothing. */
export function adminKey(env: Env): string | undefined {
  const key: unknown = env.ADMIN_KEY
  return key === undefined || key === '' ? undefined : longEnough('ADMIN_KEY', key)
}

function longEnough(name: string, secret: unknown): string {
  if (typeof secret === 'string' && secret.length >= shortestSecret) return secret
  throw new AppError('internal', `cannot check keys: ${name} needs ${shortestSecret} characters or more`)
}

/** The regions served here. */
export function regionsServed(env: Env): readonly string[] {
  const text: unknown = env.REGIONS_SERVED
  const names = typeof text === 'string' ? text.split(',').map((name) => name.trim()) : []
  return names.filter((name) => parseRegion(name) !== undefined)
}

const hints: readonly string[] = ['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me']

/** Where a region's objects are best made, if the deployment says so in a word that the platform knows. */
export function locationHint(env: Env, region: string): DurableObjectLocationHint | undefined {
  const text: unknown = env.REGION_HINTS
  if (typeof text !== 'string') return undefined
  for (const pair of text.split(',')) {
    const [name, hint] = pair.split('=').map((part) => part.trim())
    if (name === region && hint !== undefined && hints.includes(hint)) return hint as DurableObjectLocationHint
  }
  return undefined
}

/** How long a runner may be away before its sandboxes are unreachable. */
export function unreachableAfterMs(env: Env): number {
  const seconds = Number(env.UNREACHABLE_AFTER_SECONDS)
  return seconds > 0 && seconds <= 86_400 ? seconds * 1000 : 30_000
}
