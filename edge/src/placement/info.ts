/** A runner as the operator sees it. */

import type { DrainState, RunnerInfo } from '../ports.ts'
import type { StoredReport } from '../store/runners.ts'
import type { Member } from './member.ts'

export function infoOf(member: Member, drain: DrainState | null): RunnerInfo {
  const { row, connected, draining } = member
  return {
    id: row.id,
    region: row.region,
    name: row.name,
    created_at: row.createdAt,
    connected,
    draining,
    drain,
    ...figuresOf(row.report),
    sockets: connected ? (row.report?.sockets ?? 0) : 0,
    seen_at: row.seenAt === null ? null : new Date(row.seenAt).toISOString(),
  }
}

type Figures = Omit<
  RunnerInfo,
  'id' | 'region' | 'name' | 'created_at' | 'connected' | 'draining' | 'drain' | 'sockets' | 'seen_at'
>

/** What it last said of itself. */
function figuresOf(report: StoredReport | null): Figures {
  if (report === null) return unknown
  return {
    generation: report.generation,
    version: report.version,
    accelerator: report.accelerator,
    vcpus: report.vcpus,
    free_mem_mib: report.free_mem_mib,
    free_slots: report.free_slots,
    free_vcpus: report.free_vcpus ?? null,
    // Generation 1 does not state it.
    total_mem_mib: report.total_mem_mib || null,
    load: report.load,
    images: [...report.images],
    warm: report.warm,
    sandboxes: report.sandboxes,
  }
}

const unknown: Figures = {
  generation: null,
  version: null,
  accelerator: null,
  vcpus: null,
  free_mem_mib: null,
  free_slots: null,
  free_vcpus: null,
  total_mem_mib: null,
  load: null,
  images: [],
  warm: {},
  sandboxes: 0,
}
