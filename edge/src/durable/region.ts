/** One region: its runners, what they last reported, and room promised to sandboxes on their way. Choosing itself is `placement/score.ts`. */

import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '@portico/shared/clock'
import type { Env } from '../env.ts'
import { type Outcome, outcome } from '../outcome.ts'
import { Fleet } from '../placement/fleet.ts'
import type { PlaceInput, RegionPort, ReserveInput, RunnerInfo, RunnerReport, SecretRecord } from '../ports.ts'
import { migrate, regionSchema } from '../store/migrations.ts'
import { ReservationTable } from '../store/reservations.ts'
import { RunnerTable } from '../store/runners.ts'
import { objectsOf } from './objects.ts'

export class RegionObject extends DurableObject<Env> implements RegionPort {
  readonly #fleet: Fleet
  #checked: Promise<void> | undefined

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    migrate(ctx.storage, regionSchema)
    const { sql } = ctx.storage
    this.#fleet = new Fleet(new RunnerTable(sql), new ReservationTable(sql), systemClock)
  }

  async addRunner(id: string, region: string, name: string, hash: string, at: string): Promise<void> {
    this.#fleet.runners.add(id, region, name, hash, at)
  }

  async runner(id: string): Promise<SecretRecord | null> {
    const hash = this.#fleet.runners.hash(id)
    return hash === undefined ? null : { hash, revoked: false }
  }

  async runners(): Promise<RunnerInfo[]> {
    await this.#checkTunnels()
    return this.#fleet.infos()
  }

  async images(): Promise<string[]> {
    await this.#checkTunnels()
    return this.#fleet.images()
  }

  place(input: PlaceInput): Promise<Outcome<string>> {
    return outcome('place a sandbox', async () => {
      await this.#checkTunnels()
      return this.#fleet.place(input)
    })
  }

  reserve(input: ReserveInput): Promise<Outcome<number>> {
    return outcome('reserve room', async () => {
      await this.#checkTunnels()
      return this.#fleet.reserve(input)
    })
  }

  async release(sandbox: string): Promise<void> {
    this.#fleet.reservations.release(sandbox)
  }

  async report(runner: string, tunnel: string, at: number, report: RunnerReport): Promise<void> {
    this.#fleet.report(runner, tunnel, at, report)
  }

  async disconnected(runner: string, tunnel: string): Promise<void> {
    this.#fleet.runners.disconnect(runner, tunnel)
  }

  /** Once in this object's life: tunnels that ended while it could not be told, as after a restart of the platform, are taken off. */
  #checkTunnels(): Promise<void> {
    this.#checked ??= this.#fleet.checkTunnels((runner) => objectsOf(this.env).runner(runner).tunnel())
    return this.#checked
  }
}
