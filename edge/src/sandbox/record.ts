/** A sandbox's record as its object keeps it, and what can be read off it. Pure. */

import type { RunRecord } from '@portico/shared/api'
import type { SandboxSpec } from '@portico/shared/control'
import type { SandboxState } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import type { CreateInput, IndexEntry } from '../ports.ts'

/** What was asked for, without the environment: that may hold secrets, so it goes to the guest and is not kept. */
export type KeptSpec = Omit<SandboxSpec, 'env'>

export interface SandboxRecord {
  readonly id: string
  readonly account: string
  readonly region: string
  readonly spec: KeptSpec
  readonly state: SandboxState
  /** Why, where the state needs a reason. */
  readonly reason: string | null
  /** Rises with each runner that is asked to make it; 0 before the first. */
  readonly generation: number
  readonly runner: string | null
  readonly resolvedImage: string | null
  readonly createMs: number | null
  readonly createdAt: number
  readonly readyAt: number | null
  readonly endedAt: number | null
  readonly usage: Usage | null
  /** Rises with each change; `indexed` is the last one that the account's index has. */
  readonly version: number
  readonly indexed: number
  /** Destroys that the runner did not answer, and when to try again. */
  readonly failedDestroys: number
  readonly retryAt: number | null
}

/** An interrupted create is given up after this long. */
export const createLimitMs = 120_000
/** How long a destroyed sandbox's record still answers late events. */
export const keptAfterEndMs = 24 * 3_600_000
/** What is due but still under way is looked at again after this long. */
const lookAgainMs = 5_000

export function newRecord(input: CreateInput, now: number): SandboxRecord {
  const { env: _secret, ...spec } = input.spec
  return {
    id: input.sandbox,
    account: input.account,
    region: input.region,
    spec,
    state: 'creating',
    reason: null,
    generation: 0,
    runner: null,
    resolvedImage: null,
    createMs: null,
    createdAt: now,
    readyAt: null,
    endedAt: null,
    usage: null,
    version: 1,
    indexed: 0,
    failedDestroys: 0,
    retryAt: null,
  }
}

/** The record as the API shows it. One that is being destroyed is not shown to anybody, so its status is that of the end. */
export function publicRecord(record: SandboxRecord): RunRecord {
  const { spec } = record
  return {
    id: record.id,
    status: record.state === 'destroying' ? 'destroyed' : record.state,
    ...(record.state === 'error' && record.reason !== null ? { reason: record.reason } : {}),
    image: spec.image,
    resolved_image: record.resolvedImage ?? spec.image,
    region: record.region,
    vcpus: spec.vcpus,
    mem_mib: spec.mem_mib,
    disk_mib: spec.disk_mib,
    timeout: spec.idle_timeout,
    create_ms: record.createMs ?? 0,
    created_at: new Date(record.createdAt).toISOString(),
  }
}

/** What the account's index gets. */
export function indexEntry(record: SandboxRecord): IndexEntry {
  return {
    version: record.version,
    state: record.state,
    record: publicRecord(record),
    createdAt: record.createdAt,
    endedAt: record.endedAt,
    usage: record.usage,
  }
}

/** What the edge itself knows of the use, where the runner can no longer say more: the last figures it sent, or the time alone. */
export function lastKnownUsage(record: SandboxRecord, now: number): Usage {
  const uptime = record.readyAt === null ? 0 : Math.max(0, now - record.readyAt)
  return record.usage ?? { cpu_ms: 0, mem_peak_bytes: 0, mem_current_bytes: 0, disk_used_bytes: 0, uptime_ms: uptime }
}

/** When the object must look at the record by itself; undefined when there is nothing to wait for. */
export function nextAlarm(record: SandboxRecord, now: number): number | undefined {
  const times: number[] = []
  if (record.indexed < record.version) times.push(now)
  if (record.state === 'creating') times.push(record.createdAt + createLimitMs)
  if (record.state === 'destroying') times.push(record.retryAt ?? now)
  if (record.endedAt !== null) times.push(record.endedAt + keptAfterEndMs)
  return times.length === 0 ? undefined : Math.max(now + lookAgainMs, Math.min(...times))
}

/** Whether the record of a destroyed sandbox has done its duty. */
export function isForgettable(record: SandboxRecord, now: number): boolean {
  return record.endedAt !== null && record.indexed === record.version && now >= record.endedAt + keptAfterEndMs
}
