/** One runner in a region's table: its row, and what that leaves for new sandboxes at this moment. */

import type { Clock } from '@portico/shared/clock'
import type { DrainMode } from '../ports.ts'
import type { RunnerRow, StoredReport } from '../store/runners.ts'
import type { Promises } from './promises.ts'
import type { Candidate } from './score.ts'

/** A runner that has not reported for so long is not counted on. */
const silentMs = 90_000

const noImages: ReadonlySet<string> = new Set()
const noWarm: Readonly<Record<string, number>> = {}

export class Member implements Candidate {
  /** Whether it reported since this memory began. */
  isHeard = false
  readonly #promises: Promises
  readonly #clock: Clock
  #row: RunnerRow
  #images: ReadonlySet<string>

  constructor(row: RunnerRow, promises: Promises, clock: Clock) {
    this.#row = row
    this.#images = imagesOf(row.report)
    this.#promises = promises
    this.#clock = clock
  }

  get row(): RunnerRow {
    return this.#row
  }

  get id(): string {
    return this.#row.id
  }

  get connected(): boolean {
    const { tunnel, seenAt, report } = this.#row
    return tunnel !== null && seenAt !== null && report !== null && this.#clock.now() - seenAt < silentMs
  }

  get draining(): boolean {
    return this.#row.drain !== null || this.#row.report?.draining === true
  }

  get freeMemMib(): number {
    return (this.#row.report?.free_mem_mib ?? 0) - this.#promises.of(this.id).memMib
  }

  get freeVcpus(): number {
    return (this.#row.report?.free_vcpus ?? Number.POSITIVE_INFINITY) - this.#promises.of(this.id).vcpus
  }

  get freeSlots(): number {
    return (this.#row.report?.free_slots ?? 0) - this.promised
  }

  get mostSandboxes(): number | undefined {
    return this.#row.report?.policy?.max_concurrent_sandboxes
  }

  get promised(): number {
    return this.#promises.of(this.id).slots
  }

  get images(): ReadonlySet<string> {
    return this.#images
  }

  get warm(): Readonly<Record<string, number>> {
    return this.#row.report?.warm ?? noWarm
  }

  get load(): number {
    return this.#row.report?.load ?? 0
  }

  /** Takes a report. False if it was overtaken by a later one, and changes nothing. */
  heard(tunnel: string, at: number, report: StoredReport): boolean {
    if (this.#row.seenAt !== null && at < this.#row.seenAt) return false
    this.#row = { ...this.#row, tunnel, seenAt: at, report }
    this.#images = imagesOf(report)
    this.isHeard = true
    return true
  }

  gone(): void {
    this.#row = { ...this.#row, tunnel: null }
  }

  drains(mode: DrainMode | null): void {
    this.#row = { ...this.#row, drain: mode }
  }
}

function imagesOf(report: StoredReport | null): ReadonlySet<string> {
  return report === null ? noImages : new Set(report.images)
}
