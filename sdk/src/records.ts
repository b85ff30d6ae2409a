/** What the API says of sandboxes, in the SDK's spelling. The wire writes `mem_mib`; here it is `memMiB`, and times are dates. */

import type { RunRecord, UsageResponse } from '@portico/shared/api'

/**
 * All but `destroyed` and `lost` are states of a sandbox that exists. `unreachable`: its runner is not connected, and it goes on when that is back.
 * `lost`: its runner was given up.
 */
export type SandboxStatus =
  | 'creating'
  | 'running'
  | 'hibernating'
  | 'hibernated'
  | 'resuming'
  | 'destroyed'
  | 'error'
  | 'unreachable'
  | 'lost'

/** The caller's own marks on a sandbox. */
export type Labels = Readonly<Record<string, string>>

/** What happens to a sandbox without activity once its timeout has passed. */
export type OnIdle = 'destroy' | 'hibernate'

/** A sandbox as the platform's record shows it. */
export interface SandboxInfo {
  readonly id: string
  readonly status: SandboxStatus
  /** Why, where `status` is `error` or `lost`. */
  readonly reason: string | undefined
  readonly name: string | undefined
  readonly labels: Labels
  /** The image as it was asked for. */
  readonly image: string
  /** The image that was booted for it. */
  readonly resolvedImage: string
  readonly region: string
  readonly vcpus: number
  readonly memMiB: number
  readonly diskMiB: number
  /** Seconds without activity after which `onIdle` happens; 0 is never. */
  readonly timeoutSec: number
  /** Any use of it wakes it when it is hibernated. */
  readonly autoResume: boolean
  readonly onIdle: OnIdle
  /** How long its creation took, measured where it runs. */
  readonly createMs: number
  readonly createdAt: Date
  /** The sandbox that it is a fork of. */
  readonly forkedFrom: string | undefined
  /** The snapshot that it was restored from. */
  readonly restoredFrom: string | undefined
  /** Where its ports are served: `{port}` stands for the port's number. Undefined where the platform serves none. */
  readonly urlTemplate: string | undefined
}

/** What a sandbox has used since it was ready, and what that costs. */
export interface SandboxUsage {
  readonly cpuMs: number
  readonly memPeakBytes: number
  /** Memory of its runner that it takes now: its own, and its share of what it shares with others. */
  readonly memCurrentBytes: number
  readonly diskUsedBytes: number
  /** Without the time that it was hibernated, which costs nothing. */
  readonly uptimeMs: number
  readonly costCents: number
}

/** @internal */
export function sandboxInfo(record: RunRecord): SandboxInfo {
  return {
    id: record.id,
    status: record.status,
    reason: record.reason,
    name: record.name,
    labels: record.labels,
    image: record.image,
    resolvedImage: record.resolved_image,
    region: record.region,
    vcpus: record.vcpus,
    memMiB: record.mem_mib,
    diskMiB: record.disk_mib,
    timeoutSec: record.timeout,
    autoResume: record.auto_resume,
    onIdle: record.on_idle,
    createMs: record.create_ms,
    createdAt: new Date(record.created_at),
    forkedFrom: record.forked_from,
    restoredFrom: record.restored_from,
    urlTemplate: record.url_template,
  }
}

/** @internal */
export function sandboxUsage(record: UsageResponse): SandboxUsage {
  return {
    cpuMs: record.cpu_ms,
    memPeakBytes: record.mem_peak_bytes,
    memCurrentBytes: record.mem_current_bytes,
    diskUsedBytes: record.disk_used_bytes,
    uptimeMs: record.uptime_ms,
    costCents: record.cost_cents,
  }
}
