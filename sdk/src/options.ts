/** What a caller says of a sandbox to be, and how that reads on the wire. */

import { ValidationError } from './errors.ts'
import type { OnIdle } from './records.ts'
import type { CallOptions } from './sandbox.ts'

/** What to restore a snapshot with. What is left out is as it was when the snapshot was taken. */
export interface RestoreOptions extends CallOptions {
  /** Seconds without activity after which `onIdle` happens; 0 is never. */
  readonly timeoutSec?: number | undefined
  /** Variables of every command in it. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Any use of it wakes it when it is hibernated. */
  readonly autoResume?: boolean | undefined
  /** What happens after `timeoutSec` seconds without activity. */
  readonly onIdle?: OnIdle | undefined
}

/** What to create. The platform fills in what is left out: among others, 300 s until an idle sandbox is destroyed. */
export interface CreateOptions extends RestoreOptions {
  /** Such as `python` or `node:22-slim`. */
  readonly image?: string | undefined
  readonly vcpus?: number | undefined
  readonly memMiB?: number | undefined
  readonly diskMiB?: number | undefined
  /** What the sandbox may reach. The platform refuses a policy that it cannot keep. */
  readonly network?: { readonly allow?: readonly string[]; readonly deny?: readonly string[] } | undefined
  readonly networkProfile?: string | undefined
}

type Names<Options> = Readonly<Record<keyof Omit<Options, 'signal'>, string>>

const restoreNames: Names<RestoreOptions> = {
  timeoutSec: 'timeout',
  env: 'env',
  autoResume: 'auto_resume',
  onIdle: 'on_idle',
}

const createNames: Names<CreateOptions> = {
  image: 'image',
  vcpus: 'vcpus',
  memMiB: 'mem_mib',
  diskMiB: 'disk_mib',
  ...restoreNames,
  network: 'network',
  networkProfile: 'network_profile',
}

/** @internal The body of a create. */
export function createBody(options: Omit<CreateOptions, 'signal'>): Record<string, unknown> {
  return body('create a sandbox', options, createNames)
}

/** @internal The body of a restore. */
export function restoreBody(snapshot: string, options: Omit<RestoreOptions, 'signal'>): Record<string, unknown> {
  return { snapshot_id: snapshot, ...body('restore the snapshot', options, restoreNames) }
}

/** Refuses options it does not know: a policy with a slip in its name may not be dropped in silence. */
function body(doing: string, options: object, names: Readonly<Record<string, string>>): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(options)) {
    const wireName = Object.hasOwn(names, name) ? names[name] : undefined
    if (wireName === undefined) {
      const hint = `Options are ${Object.keys(names).join(', ')} and signal.`
      throw invalid(`cannot ${doing}: there is no option ${name}`, hint)
    }
    found[wireName] = value
  }
  return found
}

/** @internal The error of a call that is wrong before it is made. */
export function invalid(message: string, hint: string): ValidationError {
  return new ValidationError({ code: 'invalid_request', message, status: 0, retryable: false, hint })
}
