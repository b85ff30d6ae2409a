/** What a caller says of a sandbox to be, and how that reads on the wire. */

import { ValidationError } from './errors.ts'
import type { Labels, OnIdle } from './records.ts'
import type { CallOptions } from './sandbox.ts'

/** What every call takes that makes something. */
export interface MakeOptions extends CallOptions {
  /**
   * Names this call: with the same key it is done once within 24 hours, however often it is made and from wherever, and is answered with what came of
   * it. The SDK gives each call a key of its own otherwise. 1 to 255 ASCII characters.
   */
  readonly idempotencyKey?: string | undefined
}

/** What to restore a snapshot with. What is left out is as it was when the snapshot was taken. */
export interface RestoreOptions extends MakeOptions {
  /** What people call it; need not be unique. */
  readonly name?: string | undefined
  /** Marks by which `list` finds it. */
  readonly labels?: Labels | undefined
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

type Names<Options> = Readonly<Record<keyof Omit<Options, keyof MakeOptions>, string>>

const restoreNames: Names<RestoreOptions> = {
  name: 'name',
  labels: 'labels',
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
export function createBody(options: Omit<CreateOptions, keyof MakeOptions>): Record<string, unknown> {
  return body('create a sandbox', options, createNames)
}

/** @internal The body of a restore. */
export function restoreBody(
  snapshot: string,
  options: Omit<RestoreOptions, keyof MakeOptions>,
): Record<string, unknown> {
  return { snapshot_id: snapshot, ...body('restore the snapshot', options, restoreNames) }
}

/** What to change of a sandbox; what is left out stays. */
export interface UpdateOptions extends CallOptions {
  /** null takes the name away. */
  readonly name?: string | null | undefined
  /** In place of all that it has. */
  readonly labels?: Labels | undefined
  /** Seconds without activity after which `onIdle` happens; 0 is never. */
  readonly timeoutSec?: number | undefined
}

/** @internal The body of an update. */
export function updateBody(options: Omit<UpdateOptions, 'signal'>): Record<string, unknown> {
  return body('change the sandbox', options, { name: 'name', labels: 'labels', timeoutSec: 'timeout' })
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
