/**
 * One simulated region: the real fleet with its placement, hosts beside it, and time in steps of a second. A report takes a step to
 * arrive and a sandbox one to three to appear on its host, so the region always knows less than what is so.
 */

import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { Fleet } from '../../edge/src/placement/fleet.ts'
import type { Shape } from '../../edge/src/placement/score.ts'
import type { RunnerReport } from '../../edge/src/ports.ts'
import { CountedPromises, CountedRunners } from './counted-stores.ts'
import { Host, type Presence, type Sandbox } from './hosts.ts'
import type { Random } from './random.ts'
import { Timings } from './timings.ts'

/** As the front door does. */
const mostPlacements = 3
const heartbeatMs = 30_000
const stepMs = 1000

export interface Shaped extends Shape {
  readonly share: number
}

/** What people ask for: 666 MiB on average. */
export const shapes: readonly Shaped[] = [
  { memMib: 256, vcpus: 1, share: 0.4 },
  { memMib: 512, vcpus: 1, share: 0.3 },
  { memMib: 1024, vcpus: 2, share: 0.2 },
  { memMib: 2048, vcpus: 4, share: 0.1 },
]

export class Region {
  readonly name: string
  readonly hosts: readonly Host[]
  readonly runners = new CountedRunners()
  readonly promises = new CountedPromises()
  readonly placing = new Timings()
  readonly reporting = new Timings()
  readonly live: Sandbox[] = []
  /** What went wrong or had to be done again. */
  readonly counts = { overcommits: 0, placedAgain: 0, refused: 0, lost: 0 }
  /** Sandboxes that went with their hosts, and that nobody has asked for again yet. */
  missing = 0
  /** Calls that its object gets in the busiest step. */
  busiest = 0
  readonly #clock = new FakeClock(1_700_000_000_000)
  readonly #fleet: Fleet
  readonly #random: Random
  readonly #byId: ReadonlyMap<string, Host>
  /** By the step in which they appear. */
  readonly #starting: Sandbox[][] = [[], [], []]
  #onTheirWay: { host: Host; at: number; report: RunnerReport }[] = []
  #calls = 0
  #made = 0

  /** Its hosts have so many sandboxes from before. */
  constructor(name: string, hosts: number, occupied: number, random: Random) {
    this.name = name
    this.#random = random
    this.#fleet = new Fleet(this.runners, this.promises, this.#clock)
    this.hosts = Array.from(
      { length: hosts },
      (_, index) => new Host(`runner-${name}-${String(index).padStart(4, '0')}`),
    )
    this.#byId = new Map(this.hosts.map((host) => [host.id, host]))
    for (const { id } of this.hosts) {
      this.#fleet.add({ id, region: name, name: id, hash: 'h'.repeat(52), createdAt: '2026-01-01T00:00:00.000Z' })
    }
    for (let count = 0; count < occupied; count++) this.#settle(this.#newId(), this.#shape(), count)
    // They connect over half a minute, as after a restart, so that their heartbeats are spread.
    for (const [index, host] of this.hosts.entries()) {
      this.#report(host)
      host.reportedAt -= Math.floor((index / hosts) * heartbeatMs)
    }
  }

  /** A second passes: what was under way arrives, so many sandboxes are asked for and so many end. */
  async step(creates: number, ends: number): Promise<void> {
    this.#calls = 0
    await this.#clock.advance(stepMs)
    for (const { host, at, report } of this.#onTheirWay) this.#hear(host, at, report)
    this.#onTheirWay = []
    for (const sandbox of this.#starting.shift() ?? []) this.#appear(sandbox)
    this.#starting.push([])
    for (let count = 0; count < creates; count++) this.#create()
    for (let count = 0; count < ends && this.live.length > 0; count++) this.#end()
    for (const host of this.hosts) if (this.#isDue(host)) this.#report(host)
    this.busiest = Math.max(this.busiest, this.#calls)
  }

  /** Hosts vanish with all that is on them; the region hears of it only where sockets were closed. */
  lose(hosts: readonly Host[], presence: Exclude<Presence, 'up'>): void {
    const gone = new Set(hosts)
    for (const host of hosts) {
      host.presence = presence
      if (presence === 'cut') this.#fleet.disconnect(host.id, host.tunnel)
    }
    for (const sandbox of this.live.filter(({ host }) => gone.has(host))) {
      this.#takeOut(sandbox)
      this.#miss()
    }
  }

  #newId(): string {
    return `run${this.name}${String(this.#made++).padStart(26 - this.name.length, '0')}`
  }

  #settle(id: string, shape: Shape, turn: number): void {
    const host = this.hosts[turn % this.hosts.length]
    if (host === undefined || !host.take(id, shape)) throw new Error('cannot occupy the hosts: they are too small')
    const index = this.live.length
    this.live.push({ id, shape, host, index })
  }

  #create(): void {
    const shape = this.#shape()
    const id = this.#newId()
    const host = this.#place(id, shape)
    if (host === undefined) return
    this.#starting[this.#random.below(this.#starting.length)]?.push({ id, shape, host, index: -1 })
  }

  /** As the sandbox's object does it: a runner that is gone is passed over, three times at most. */
  #place(sandbox: string, shape: Shape): Host | undefined {
    const avoid: string[] = []
    while (avoid.length < mostPlacements) {
      const host = this.#byId.get(this.#choose(sandbox, shape, avoid) ?? '')
      if (host === undefined) break
      if (host.presence === 'up') return host
      this.counts.placedAgain++
      avoid.push(host.id)
    }
    this.counts.refused++
    this.#release(sandbox)
    return undefined
  }

  #choose(sandbox: string, shape: Shape, avoid: readonly string[]): string | undefined {
    this.#calls++
    const image = this.#random.next() < 0.7 ? 'python' : 'node'
    try {
      return this.placing.time(() => this.#fleet.place({ region: this.name, sandbox, image, ...shape, avoid }))
    } catch (error) {
      if (AppError.from(error).code === 'internal') throw error
      return undefined
    }
  }

  #appear(sandbox: Sandbox): void {
    const { host, id, shape } = sandbox
    if (host.presence !== 'up') {
      this.#miss()
      this.#release(id)
      return
    }
    if (!host.take(id, shape)) this.counts.overcommits++
    sandbox.index = this.live.push(sandbox) - 1
  }

  #end(): void {
    const sandbox = this.live[this.#random.below(this.live.length)]
    if (sandbox === undefined) return
    this.#takeOut(sandbox)
    this.#release(sandbox.id)
  }

  #takeOut(sandbox: Sandbox): void {
    sandbox.host.end(sandbox.id)
    const last = this.live.pop()
    if (last === undefined || last === sandbox) return
    this.live[sandbox.index] = last
    last.index = sandbox.index
  }

  #miss(): void {
    this.counts.lost++
    this.missing++
  }

  #release(sandbox: string): void {
    this.#calls++
    this.#fleet.release(sandbox)
  }

  /** At least every half a minute, and when something changed; changes within a step are told together. */
  #isDue(host: Host): boolean {
    return host.presence === 'up' && (host.hasChanged || this.#clock.now() - host.reportedAt >= heartbeatMs)
  }

  #report(host: Host): void {
    const at = this.#clock.now()
    host.reportedAt = at
    host.hasChanged = false
    this.#onTheirWay.push({ host, at, report: host.report() })
  }

  #hear(host: Host, at: number, report: RunnerReport): void {
    this.#calls++
    this.reporting.time(() => this.#fleet.report(host.id, host.tunnel, at, report))
  }

  #shape(): Shape {
    let chance = this.#random.next()
    for (const { share, ...shape } of shapes) {
      chance -= share
      if (chance < 0) return shape
    }
    return { memMib: 256, vcpus: 1 }
  }
}
