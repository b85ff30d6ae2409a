/** Which of the account's sandboxes exist. The platform answers in pages; a list is all of them. */

import { type RunRecord, runList } from '@portico/shared/api'
import { shortMs } from './limits.ts'
import type { Labels, SandboxStatus } from './records.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

/** What fits; all that is given must. */
export interface ListOptions extends CallOptions {
  /** One of these. */
  readonly state?: SandboxStatus | readonly SandboxStatus[] | undefined
  /** Each of these. */
  readonly labels?: Labels | undefined
  /** Of this name exactly. */
  readonly name?: string | undefined
  /** A key sees its own region; of another there is nothing. */
  readonly region?: string | undefined
}

/** @internal */
export async function list(transport: Transport, { signal, ...filter }: ListOptions): Promise<RunRecord[]> {
  // On the wire no state at all would be no filter.
  if (filter.state?.length === 0) return []
  const query = queryOf(filter)
  const call = { method: 'GET', doing: 'list the sandboxes', limitMs: shortMs, repeatable: true, signal } as const
  const found: RunRecord[] = []
  for (;;) {
    const text = query.size === 0 ? '' : `?${query}`
    const { runs, next_cursor } = await transport.json({ ...call, path: `/v1/runs${text}` }, runList)
    found.push(...runs)
    if (next_cursor === undefined) return found
    query.set('cursor', next_cursor)
  }
}

function queryOf({ state, labels = {}, name, region }: Omit<ListOptions, 'signal'>): URLSearchParams {
  const query = new URLSearchParams()
  if (state !== undefined) query.set('state', typeof state === 'string' ? state : state.join(','))
  for (const [key, value] of Object.entries(labels)) query.append('label', `${key}:${value}`)
  if (name !== undefined) query.set('name', name)
  if (region !== undefined) query.set('region', region)
  return query
}
