/** What the API says of sandboxes, in the SDK's spelling. The wire writes `mem_mib`; here it is `memMiB`, and times are dates. */

import type { DestroyResponse, RunRecord } from '@portico/shared/api'

/** `creating`, `running` and `error` are states of a sandbox that exists; a newer platform may know more. */
export type SandboxStatus = 'creating' | 'running' | 'hibernated' | 'destroyed' | 'error'

/** A sandbox as the platform's record shows it. */
export interface SandboxInfo {
  readonly id: string
  readonly status: SandboxStatus
  /** Why, where `status` is `error`. */
  readonly reason: string | undefined
  /** The image as it was asked for. */
  readonly image: string
  /** The image that was booted for it. */
  readonly resolvedImage: string
  readonly region: string
  readonly vcpus: number
  readonly memMiB: number
  readonly diskMiB: number
  /** Seconds without activity after which it is destroyed; 0 is never. */
  readonly timeoutSec: number
  /** How long its creation took, measured where it runs. */
  readonly createMs: number
  readonly createdAt: Date
}

/** What a sandbox used from when it was ready until it was destroyed, and what that costs. */
export interface SandboxUsage {
  readonly cpuMs: number
  readonly memPeakBytes: number
  readonly memCurrentBytes: number
  readonly diskUsedBytes: number
  readonly uptimeMs: number
  readonly costCents: number
}

/** @internal */
export function sandboxInfo(record: RunRecord): SandboxInfo {
  return {
    id: record.id,
    status: record.status,
    reason: record.reason,
    image: record.image,
    resolvedImage: record.resolved_image,
    region: record.region,
    vcpus: record.vcpus,
    memMiB: record.mem_mib,
    diskMiB: record.disk_mib,
    timeoutSec: record.timeout,
    createMs: record.create_ms,
    createdAt: new Date(record.created_at),
  }
}

/** @internal */
export function sandboxUsage(record: DestroyResponse): SandboxUsage {
  return {
    cpuMs: record.cpu_ms,
    memPeakBytes: record.mem_peak_bytes,
    memCurrentBytes: record.mem_current_bytes,
    diskUsedBytes: record.disk_used_bytes,
    uptimeMs: record.uptime_ms,
    costCents: record.cost_cents,
  }
}
