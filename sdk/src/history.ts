/** Sandboxes that are over. */

import { history as page, type HistoryItem as Wire } from '@portico/shared/api'
import { shortMs } from './limits.ts'
import type { SandboxStatus } from './records.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

export interface HistoryOptions extends CallOptions {
  /** How many to ask for at a time; reading goes on beyond. */
  readonly pageSize?: number | undefined
}

/** A sandbox that is over. */
export interface HistoryItem {
  readonly id: string
  /** `destroyed`, or `lost` with its runner. */
  readonly status: SandboxStatus
  /** Why, where it did not end as asked. */
  readonly reason: string | undefined
  readonly name: string | undefined
  readonly image: string
  readonly region: string
  readonly vcpus: number
  readonly memMiB: number
  readonly createMs: number
  readonly createdAt: Date
  readonly destroyedAt: Date
  readonly uptimeMs: number
  readonly cpuMs: number
  readonly memPeakBytes: number
  readonly costCents: number
}

/** @internal */
export async function* history(
  transport: Transport,
  { pageSize, signal }: HistoryOptions,
): AsyncGenerator<HistoryItem, void> {
  const query = new URLSearchParams(pageSize === undefined ? {} : { limit: String(pageSize) })
  const call = { method: 'GET', doing: 'look up the history', limitMs: shortMs, repeatable: true, signal } as const
  for (;;) {
    const text = query.size === 0 ? '' : `?${query}`
    const { sandboxes, next_cursor } = await transport.json({ ...call, path: `/v1/runs/history${text}` }, page)
    for (const item of sandboxes) yield historyItem(item)
    if (next_cursor === undefined) return
    query.set('cursor', next_cursor)
  }
}

function historyItem(wire: Wire): HistoryItem {
  return {
    id: wire.id,
    status: wire.status,
    reason: wire.reason,
    name: wire.name,
    image: wire.image,
    region: wire.region,
    vcpus: wire.vcpus,
    memMiB: wire.mem_mib,
    createMs: wire.create_ms,
    createdAt: new Date(wire.created_at),
    destroyedAt: new Date(wire.destroyed_at),
    uptimeMs: wire.uptime_ms,
    cpuMs: wire.cpu_ms,
    memPeakBytes: wire.mem_peak_bytes,
    costCents: wire.cost_cents,
  }
}
