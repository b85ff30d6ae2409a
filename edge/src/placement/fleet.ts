/**
 * A region's runners as placement sees them: connected while their tunnel reported within the last 90 s (they do so every 30 s at
 * least), with the room they reported less what was promised since. All of it is in storage; nothing here outlives a call.
 */

import type { Clock } from '@portico/shared/clock'
import type { PlaceInput, ReserveInput, RunnerInfo, RunnerReport } from '../ports.ts'
import type { ReservationTable } from '../store/reservations.ts'
import type { RunnerRow, RunnerTable } from '../store/runners.ts'
import { type Candidate, choose, roomFor } from './score.ts'

const silentMs = 90_000
/** Longer than the longest create; a promise that nobody kept or released ends by itself. */
const reservedMs = 300_000

export class Fleet {
  readonly runners: RunnerTable
  readonly reservations: ReservationTable
  readonly #clock: Clock

  constructor(runners: RunnerTable, reservations: ReservationTable, clock: Clock) {
    this.runners = runners
    this.reservations = reservations
    this.#clock = clock
  }

  /** Chooses a runner and promises the sandbox its room there. */
  place(input: PlaceInput): string {
    const now = this.#clock.now()
    this.reservations.release(input.sandbox)
    this.reservations.expire(now)
    const chosen = choose(this.#candidates(now), input)
    this.reservations.put(input.sandbox, chosen.id, input.memMib, now + reservedMs)
    return chosen.id
  }

  /** Promises room on one runner to as many of the sandboxes as fit, and answers how many. */
  reserve({ region, runner, sandboxes, memMib }: ReserveInput): number {
    const now = this.#clock.now()
    for (const sandbox of sandboxes) this.reservations.release(sandbox)
    this.reservations.expire(now)
    const candidate = this.#candidates(now).find(({ id }) => id === runner)
    const count = Math.min(sandboxes.length, roomFor(candidate, { region, memMib }))
    for (const sandbox of sandboxes.slice(0, count)) this.reservations.put(sandbox, runner, memMib, now + reservedMs)
    return count
  }

  /** Keeps a report. The sandboxes it names are part of its figures, so their promises are kept. */
  report(runner: string, tunnel: string, at: number, report: RunnerReport): void {
    this.runners.report(runner, tunnel, at, report)
    for (const sandbox of report.sandboxes) this.reservations.release(sandbox)
  }

  /** Asks which tunnels are really in force and takes off those that are not. A runner that cannot be asked stays as it is. */
  async checkTunnels(inForce: (runner: string) => Promise<string | null>): Promise<void> {
    const rows = this.runners.all().filter((row) => isConnected(row, this.#clock.now()))
    await Promise.all(
      rows.map(async ({ id, tunnel }) => {
        const current = await inForce(id).catch(() => tunnel)
        if (tunnel !== null && current !== tunnel) this.runners.disconnect(id, tunnel)
      }),
    )
  }

  /** Names of images that connected runners offer. */
  images(): string[] {
    const now = this.#clock.now()
    const usable = this.runners.all().filter((row) => isConnected(row, now) && row.report?.draining === false)
    return [...new Set(usable.flatMap((row) => row.report?.images ?? []))].sort()
  }

  /** For the operator. */
  infos(): RunnerInfo[] {
    const now = this.#clock.now()
    return this.runners.all().map((row) => ({
      id: row.id,
      region: row.region,
      name: row.name,
      created_at: row.createdAt,
      connected: isConnected(row, now),
      draining: row.report?.draining ?? false,
      version: row.report?.version ?? null,
      accelerator: row.report?.accelerator ?? null,
      vcpus: row.report?.vcpus ?? null,
      free_mem_mib: row.report?.free_mem_mib ?? null,
      free_slots: row.report?.free_slots ?? null,
      images: [...(row.report?.images ?? [])],
      sandboxes: row.report?.sandboxes ?? 0,
      seen_at: row.seenAt === null ? null : new Date(row.seenAt).toISOString(),
    }))
  }

  #candidates(now: number): Candidate[] {
    const reserved = this.reservations.byRunner()
    return this.runners.all().flatMap((row) => {
      if (row.report === null) return []
      const promised = reserved.get(row.id)
      return {
        id: row.id,
        connected: isConnected(row, now),
        draining: row.report.draining,
        freeMemMib: row.report.free_mem_mib - (promised?.memMib ?? 0),
        freeSlots: row.report.free_slots - (promised?.slots ?? 0),
        images: row.report.images,
      }
    })
  }
}

function isConnected(row: RunnerRow, now: number): boolean {
  return row.tunnel !== null && row.seenAt !== null && now - row.seenAt < silentMs
}
