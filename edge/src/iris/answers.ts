/** Sandboxes and tokens as the gateway tells them. */

import type { IrisSandbox, IrisSandboxWithToken, IrisToken, RunRecord, RunStatus } from '@portico/shared/api'
import type { KeyCall } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { sandboxHost } from '../port/addresses.ts'
import { toIrisId } from './ids.ts'
import { tokenSeconds } from './tokens.ts'

/** One that is out of reach still exists and may run; whoever uses it learns more. */
const states: Readonly<Record<RunStatus, IrisSandbox['state']>> = {
  creating: 'creating',
  running: 'running',
  hibernating: 'suspending',
  hibernated: 'suspended',
  resuming: 'resuming',
  destroyed: 'terminated',
  error: 'failed',
  lost: 'failed',
  unreachable: 'running',
}

export function irisSandboxOf(record: RunRecord, { env, url }: KeyCall): IrisSandbox {
  return {
    id: toIrisId(record.id),
    name: record.name ?? '',
    domain: sandboxHost(env, url, record.id) ?? '',
    state: states[record.status],
    created_at: record.created_at,
  }
}

/** A token of a sandbox that is known to be the caller's. */
export async function irisTokenOf(call: KeyCall, sandbox: string, seconds = tokenSeconds.usual): Promise<IrisToken> {
  const { objects, principal } = call
  const signed = reach('sign the token', objects.keyring().sign({ ...principal, sandbox }, seconds))
  const { token, expiresAt } = unwrap(await signed)
  return { data_plane_token: token, data_plane_token_expires_at_unix: expiresAt }
}

export async function withToken(call: KeyCall, record: RunRecord): Promise<Response> {
  const body = { sandbox: irisSandboxOf(record, call), ...(await irisTokenOf(call, record.id)) }
  return Response.json(body satisfies IrisSandboxWithToken)
}
