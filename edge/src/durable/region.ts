/** One region: its runners, what they last reported, and room promised to sandboxes on their way. Choosing itself is `placement/score.ts`. */

import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '@portico/shared/clock'
import type { RunnerPolicy } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import type { Env } from '../env.ts'
import { type Outcome, outcome } from '../outcome.ts'
import { Fleet, type InForce } from '../placement/fleet.ts'
import { reach } from '../platform-errors.ts'
import type {
  DrainMode,
  DrainState,
  PlaceInput,
  RegionPort,
  ReserveInput,
  RunnerInfo,
  RunnerReport,
  SecretRecord,
} from '../ports.ts'
import { migrate, regionSchema } from '../store/migrations.ts'
import { ReservationTable } from '../store/reservations.ts'
import { RunnerTable } from '../store/runners.ts'
import { objectsOf } from './objects.ts'

export class RegionObject extends DurableObject<Env> implements RegionPort {
  readonly #fleet: Fleet

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    migrate(ctx.storage, regionSchema)
    const { sql } = ctx.storage
    this.#fleet = new Fleet(new RunnerTable(sql), new ReservationTable(sql), systemClock)
  }

  async addRunner(id: string, region: string, name: string, hash: string, createdAt: string): Promise<void> {
    this.#fleet.add({ id, region, name, hash, createdAt })
  }

  async runner(id: string): Promise<SecretRecord | null> {
    const hash = this.#fleet.hash(id)
    return hash === undefined ? null : { hash, revoked: false }
  }

  async runners(): Promise<RunnerInfo[]> {
    await this.#fleet.checkTunnels(this.#inForce)
    const drains = this.#fleet.emptied().map(async (id) => [id, await this.#drainOf(id)] as const)
    return this.#fleet.infos(new Map(await Promise.all(drains)))
  }

  async info(runner: string): Promise<RunnerInfo | null> {
    if (this.#fleet.hash(runner) === undefined) return null
    await this.#fleet.checkTunnels(this.#inForce, [runner])
    return this.#fleet.info(runner, await this.#drainOf(runner))
  }

  async images(): Promise<string[]> {
    await this.#fleet.checkTunnels(this.#inForce)
    return this.#fleet.images()
  }

  async policy(): Promise<RunnerPolicy | null> {
    await this.#fleet.checkTunnels(this.#inForce)
    return this.#fleet.policy()
  }

  puller(reference: string, avoid: readonly string[] = []): Promise<Outcome<string>> {
    return outcome('choose a runner', async () => {
      await this.#fleet.checkTunnels(this.#inForce)
      return this.#fleet.puller(reference, avoid)
    })
  }

  place(input: PlaceInput): Promise<Outcome<string>> {
    return outcome('place a sandbox', () => this.#fleet.placeSurely(input, this.#inForce))
  }

  reserve(input: ReserveInput): Promise<Outcome<number>> {
    return outcome('reserve room', () => this.#fleet.reserveSurely(input, this.#inForce))
  }

  async release(sandbox: string): Promise<void> {
    this.#fleet.release(sandbox)
  }

  async report(runner: string, tunnel: string, at: number, report: RunnerReport): Promise<void> {
    this.#fleet.report(runner, tunnel, at, report)
  }

  async disconnected(runner: string, tunnel: string): Promise<void> {
    this.#fleet.disconnect(runner, tunnel)
  }

  async silent(runner: string, at: number): Promise<void> {
    this.#fleet.silent(runner, at)
  }

  drain(runner: string, mode: DrainMode): Promise<Outcome<RunnerInfo>> {
    return this.#setDrain(runner, mode)
  }

  undrain(runner: string): Promise<Outcome<RunnerInfo>> {
    return this.#setDrain(runner, null)
  }

  remove(runner: string, lost: boolean): Promise<Outcome<number>> {
    return outcome('remove a runner', async () => {
      // Nothing is placed there while it is asked what it has.
      const before = this.#fleet.drainOf(runner)
      this.#fleet.drain(runner, before ?? 'wait')
      const promised = lost ? 0 : this.#fleet.promised(runner)
      const removal =
        promised > 0 ? promised : reach('remove the runner', objectsOf(this.env).runner(runner).remove(lost))
      const count = await removal
      if (count > 0 && !lost) {
        this.#fleet.drain(runner, before)
        throw new AppError(
          'conflict',
          `cannot remove the runner: it has ${count} sandboxes; drain it, or say that they are lost`,
        )
      }
      this.#fleet.remove(runner)
      return count
    })
  }

  #setDrain(runner: string, mode: DrainMode | null): Promise<Outcome<RunnerInfo>> {
    return outcome('drain a runner', async () => {
      this.#fleet.drain(runner, mode)
      await reach('drain the runner', objectsOf(this.env).runner(runner).evacuate(mode))
      const info = await this.info(runner)
      if (info === null) throw new AppError('not_found', 'cannot find the runner: there is none with this id')
      return info
    })
  }

  /** How far the operator's drain of a runner is; null if there is none. */
  async #drainOf(runner: string): Promise<DrainState | null> {
    const mode = this.#fleet.drainOf(runner)
    if (mode === null) return null
    const held = await reach('look at the runner', objectsOf(this.env).runner(runner).holds())
    return { mode, ...held, done: held.running === 0 && this.#fleet.promised(runner) === 0 }
  }

  readonly #inForce: InForce = (runner) => objectsOf(this.env).runner(runner).tunnel()
}
