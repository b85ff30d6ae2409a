/**
 * A region's runners as placement sees them: connected while their tunnel reported within the last 90 s (they do so every 30 s at
 * least), with the room they reported less what was promised since. The table is in memory and written through, so that a create reads
 * nothing; what an eviction forgets is read again. Nothing here needs the platform.
 */

import type { Clock } from '@portico/shared/clock'
import type { RunnerPolicy } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import type { DrainMode, DrainState, PlaceInput, ReserveInput, RunnerInfo, RunnerReport } from '../ports.ts'
import type { ReservationStore } from '../store/reservations.ts'
import type { RunnerRow, RunnerStore } from '../store/runners.ts'
import { infoOf } from './info.ts'
import { Member } from './member.ts'
import { Promises, promiseMs } from './promises.ts'
import { choose, roomFor } from './score.ts'

/** How many runners are asked for their tunnel at once. */
const askedAtOnce = 50

/** Which tunnel of a runner is in force. */
export type InForce = (runner: string) => Promise<string | null>

export class Fleet {
  readonly #store: RunnerStore
  readonly #promises: Promises
  readonly #clock: Clock
  readonly #members = new Map<string, Member>()

  constructor(runners: RunnerStore, reservations: ReservationStore, clock: Clock) {
    this.#store = runners
    this.#promises = new Promises(reservations)
    this.#clock = clock
    for (const row of runners.all()) this.#members.set(row.id, new Member(row, this.#promises, clock))
  }

  add(row: Parameters<RunnerStore['add']>[0]): void {
    this.#store.add(row)
    const fresh: RunnerRow = { ...row, tunnel: null, seenAt: null, report: null, drain: null }
    this.#members.set(row.id, new Member(fresh, this.#promises, this.#clock))
  }

  hash(id: string): string | undefined {
    return this.#members.get(id)?.row.hash
  }

  /** Chooses a runner and promises the sandbox its room there. */
  place(input: PlaceInput): string {
    const now = this.#clock.now()
    this.#promises.release(input.sandbox)
    this.#promises.expire(now)
    const { id } = choose(this.#members.values(), input)
    const { sandbox, memMib, vcpus } = input
    this.#promises.put({ sandbox, runner: id, memMib, vcpus, until: now + promiseMs })
    return id
  }

  /** The same, but a runner that has not been heard since this memory began is asked whether it is there before it is counted on. */
  async placeSurely(input: PlaceInput, inForce: InForce): Promise<string> {
    for (;;) {
      const id = this.place(input)
      if (await this.#isThere(id, inForce)) return id
    }
  }

  /** Promises room on one runner to as many of the sandboxes as fit, and answers how many. */
  reserve({ region, runner, sandboxes, memMib, vcpus }: ReserveInput): number {
    const now = this.#clock.now()
    for (const sandbox of sandboxes) this.#promises.release(sandbox)
    this.#promises.expire(now)
    const count = Math.min(sandboxes.length, roomFor(this.#members.get(runner), { region, memMib, vcpus }))
    for (const sandbox of sandboxes.slice(0, count)) {
      this.#promises.put({ sandbox, runner, memMib, vcpus, until: now + promiseMs })
    }
    return count
  }

  async reserveSurely(input: ReserveInput, inForce: InForce): Promise<number> {
    await this.#isThere(input.runner, inForce)
    return this.reserve(input)
  }

  release(sandbox: string): void {
    this.#promises.release(sandbox)
  }

  /** Keeps a report, unless a later one was faster. The sandboxes it names are part of its figures, so what was promised them there is kept. */
  report(runner: string, tunnel: string, at: number, { sandboxes, held, ...figures }: RunnerReport): void {
    const report = { ...figures, sandboxes: held ?? sandboxes.length }
    if (this.#members.get(runner)?.heard(tunnel, at, report)) this.#store.report(runner, tunnel, at, report)
    for (const sandbox of sandboxes) this.#promises.release(sandbox, runner)
  }

  /** Only the tunnel that reported last can take the runner away. */
  disconnect(runner: string, tunnel: string): void {
    const member = this.#members.get(runner)
    if (member?.row.tunnel !== tunnel) return
    member.gone()
    this.#store.disconnect(runner)
  }

  /** It was not there when it was asked at this moment: nothing is placed there until it reports again. */
  silent(runner: string, at: number): void {
    const { tunnel, seenAt } = this.#members.get(runner)?.row ?? {}
    if (typeof tunnel === 'string' && typeof seenAt === 'number' && seenAt <= at) this.disconnect(runner, tunnel)
  }

  /** The operator empties it, or, with null, no longer does. */
  drain(runner: string, mode: DrainMode | null): void {
    this.#member(runner).drains(mode)
    this.#store.drain(runner, mode)
  }

  drainOf(runner: string): DrainMode | null {
    return this.#member(runner).row.drain
  }

  /** How many promises a runner still has to keep. */
  promised(runner: string): number {
    return this.#promises.of(runner).slots
  }

  remove(runner: string): void {
    this.#promises.drop(runner)
    this.#members.delete(runner)
    this.#store.remove(runner)
  }

  /** Asks those who have not been heard since this memory began which tunnels are in force. */
  async checkTunnels(inForce: InForce, runners: readonly string[] = [...this.#members.keys()]): Promise<void> {
    for (let at = 0; at < runners.length; at += askedAtOnce) {
      await Promise.all(runners.slice(at, at + askedAtOnce).map((runner) => this.#isThere(runner, inForce)))
    }
  }

  /**
   * Names of images that connected runners offer to everybody, in alphabetical order. References of a registry are not among them: a runner lists
   * those that somebody pulled, for placement, and what one account pulls is no other one's business.
   */
  images(): string[] {
    const usable = [...this.#members.values()].filter((one) => one.connected && !one.draining)
    const names = new Set(usable.flatMap((one) => [...one.images].filter((name) => !name.includes('/'))))
    for (const { name } of this.policy()?.catalog ?? []) names.add(name)
    return [...names].sort()
  }

  /** The defaults of the first connected runner that states them, with the catalogs of all; a name that two have is the first one's. */
  policy(): RunnerPolicy | null {
    const usable = [...this.#members.values()].filter((one) => one.connected && !one.draining)
    const policies = usable.flatMap(({ row }) => row.report?.policy ?? [])
    const [first] = policies
    if (first === undefined) return null
    const catalog = new Map<string, RunnerPolicy['catalog'][number]>()
    for (const entry of policies.flatMap((policy) => policy.catalog)) {
      if (!catalog.has(entry.name)) catalog.set(entry.name, entry)
    }
    return { ...first, catalog: [...catalog.values()] }
  }

  /** Where an image is pulled to: a runner that has it already, or else the one with the least to do. */
  puller(reference: string, avoid: readonly string[] = []): string {
    const usable = [...this.#members.values()].filter(
      (one) => one.connected && !one.draining && !avoid.includes(one.id),
    )
    const [best] = usable.toSorted(
      (a, b) => Number(b.images.has(reference)) - Number(a.images.has(reference)) || a.load - b.load,
    )
    if (best === undefined)
      throw new AppError('no_runner', 'cannot pull the image: no runner of the region is connected')
    return best.id
  }

  /** Ids of those that the operator empties. */
  emptied(): string[] {
    return [...this.#members.values()].filter(({ row }) => row.drain !== null).map(({ id }) => id)
  }

  /** For the operator, in the order in which they were enrolled. `drains` says how far those are that are emptied. */
  infos(drains: ReadonlyMap<string, DrainState | null>): RunnerInfo[] {
    return [...this.#members.values()].map((one) => infoOf(one, drains.get(one.id) ?? null))
  }

  /** One of them, if it is here. */
  info(runner: string, drain: DrainState | null): RunnerInfo | null {
    const member = this.#members.get(runner)
    return member === undefined ? null : infoOf(member, drain)
  }

  /** A runner that cannot be asked stays as it is. */
  async #isThere(runner: string, inForce: InForce): Promise<boolean> {
    const member = this.#members.get(runner)
    const { tunnel } = member?.row ?? {}
    if (member === undefined || member.isHeard || !member.connected || typeof tunnel !== 'string') return true
    const current = await inForce(runner).catch(() => tunnel)
    if (current === tunnel || member.isHeard) return true
    this.disconnect(runner, tunnel)
    return false
  }

  #member(runner: string): Member {
    const member = this.#members.get(runner)
    if (member === undefined) throw new AppError('not_found', 'cannot find the runner: there is none with this id')
    return member
  }
}
