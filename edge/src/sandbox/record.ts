/** A sandbox's record as its object keeps it, and what can be read off it. Pure. */

import type { RunRecord, RunStatus } from '@portico/shared/api'
import type { SandboxSpec } from '@portico/shared/control'
import { isFinal, type SandboxState } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import type { Caller, Happening, IndexEntry, Marks } from '../ports.ts'

/** What was asked for, without the environment: that may hold secrets, so it goes to the guest and is not kept. */
export type KeptSpec = Omit<SandboxSpec, 'env'>

export interface NewSandbox extends Caller {
  readonly sandbox: string
  readonly spec: KeptSpec & Partial<Pick<SandboxSpec, 'env'>>
  readonly marks?: Marks
}

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
  readonly endedAt: number | null
  /** The last figures that its runner told. */
  readonly usage: Usage | null
  /** It has been running since then, and `usage` does not hold that time yet. */
  readonly runningSince: number | null
  readonly name: string | null
  readonly labels: Readonly<Record<string, string>>
  /** Its runner has not been connected since then; null while it is. */
  readonly unreachableSince: number | null
  /** What happened since the account's index was last told. */
  readonly happenings: readonly Happening[]
  /** The sandbox that it is a fork of, and the snapshot that it was restored from. */
  readonly forkedFrom: string | null
  readonly restoredFrom: string | null
  /** Rises with each change; `indexed` is the last one that the account's index has. */
  readonly version: number
  readonly indexed: number
  /** Destroys that the runner did not answer. */
  readonly failedDestroys: number
  /** When the alarm goes on with a destroy, a hibernation or a resume that nobody finished. */
  readonly retryAt: number | null
}

/** An interrupted create is given up after this long. */
export const createLimitMs = 120_000
/** How long the audit log of a sandbox that is over can be read; its record answers late events as long. */
export const keptAfterEndMs = 30 * 24 * 3_600_000
/** The same where nobody ever got the sandbox, so nobody can ask for its log. */
const keptUnbornMs = 24 * 3_600_000
/** What is due but still under way is looked at again after this long. */
const lookAgainMs = 5_000

/** A record as it was stored, perhaps before sandboxes could sleep. */
export function storedRecord(stored: SandboxRecord & { readonly readyAt?: number | null }): SandboxRecord {
  const { readyAt = null, ...record } = stored
  const { auto_resume = false, on_idle = 'destroy' } = record.spec as Partial<KeptSpec>
  const { runningSince = record.state === 'running' ? readyAt : null } = record as Partial<SandboxRecord>
  const { forkedFrom = null, restoredFrom = null } = record as Partial<SandboxRecord>
  const { name = null, labels = {}, unreachableSince = null, happenings = [] } = record as Partial<SandboxRecord>
  const later = { name, labels, unreachableSince, happenings }
  return { ...record, ...later, spec: { ...record.spec, auto_resume, on_idle }, runningSince, forkedFrom, restoredFrom }
}

/** The first record; the environment, which may hold secrets, is not taken over. */
export function newRecord(input: NewSandbox, now: number): SandboxRecord {
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
    endedAt: null,
    usage: null,
    runningSince: null,
    name: input.marks?.name ?? null,
    labels: input.marks?.labels ?? {},
    unreachableSince: null,
    happenings: [],
    forkedFrom: null,
    restoredFrom: null,
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
    status: statusOf(record),
    ...(needsReason.includes(record.state) && record.reason !== null ? { reason: record.reason } : {}),
    ...(record.name === null ? {} : { name: record.name }),
    labels: record.labels,
    image: spec.image,
    resolved_image: record.resolvedImage ?? spec.image,
    region: record.region,
    vcpus: spec.vcpus,
    mem_mib: spec.mem_mib,
    disk_mib: spec.disk_mib,
    timeout: spec.idle_timeout,
    auto_resume: spec.auto_resume,
    on_idle: spec.on_idle,
    create_ms: record.createMs ?? 0,
    created_at: new Date(record.createdAt).toISOString(),
    ...(record.forkedFrom === null ? {} : { forked_from: record.forkedFrom }),
    ...(record.restoredFrom === null ? {} : { restored_from: record.restoredFrom }),
  }
}

const needsReason: readonly SandboxState[] = ['error', 'lost']

/** Out of reach is told of what would otherwise be thought to run or sleep. */
function statusOf({ state, unreachableSince }: SandboxRecord): RunStatus {
  if (state === 'destroying') return 'destroyed'
  return unreachableSince === null || state === 'error' || isFinal(state) ? state : 'unreachable'
}

/** What the account's index gets. */
export function indexEntry(record: SandboxRecord): IndexEntry {
  return {
    version: record.version,
    state: record.state,
    record: publicRecord(record),
    createdAt: record.createdAt,
    endedAt: record.endedAt,
    usage: neverRan(record) ? null : record.usage,
    runningSince: record.runningSince,
    happenings: record.happenings,
  }
}

/** What the edge itself knows of the use, where the runner can no longer say more: the last figures it sent, and the time that it ran since. */
export function lastKnownUsage(record: SandboxRecord, now: number): Usage {
  const ran = record.runningSince === null ? 0 : Math.max(0, now - record.runningSince)
  const usage = record.usage ?? nothingUsed
  return { ...usage, uptime_ms: usage.uptime_ms + ran }
}

const nothingUsed: Usage = { cpu_ms: 0, mem_peak_bytes: 0, mem_current_bytes: 0, disk_used_bytes: 0, uptime_ms: 0 }

/** When the object must look at the record by itself; undefined when there is nothing to wait for. */
export function nextAlarm(record: SandboxRecord, now: number): number | undefined {
  const times: number[] = []
  if (record.indexed < record.version) times.push(now)
  if (record.state === 'creating') times.push(record.createdAt + createLimitMs)
  if (record.state === 'destroying' || isOnItsWay(record.state)) times.push(record.retryAt ?? now)
  if (record.endedAt !== null) times.push(keptUntil(record, record.endedAt))
  return times.length === 0 ? undefined : Math.max(now + lookAgainMs, Math.min(...times))
}

/** Falling asleep, or waking. */
export function isOnItsWay(state: SandboxState): state is 'hibernating' | 'resuming' {
  return state === 'hibernating' || state === 'resuming'
}

/** Whether the record of a destroyed sandbox has done its duty. */
export function isForgettable(record: SandboxRecord, now: number): boolean {
  return record.endedAt !== null && record.indexed === record.version && now >= keptUntil(record, record.endedAt)
}

function keptUntil(record: SandboxRecord, endedAt: number): number {
  return endedAt + (neverRan(record) ? keptUnbornMs : keptAfterEndMs)
}

/** Whether it was never ready, so that nobody used it and nobody pays for it. */
export function neverRan({ createMs }: SandboxRecord): boolean {
  return createMs === null
}
