/**
 * One runner: the sockets of its tunnel, the calls on them, and which sandboxes the edge has given it. Guest requests come in through
 * `fetch`, as they carry bodies. While a tunnel is in force, or something is left to do, an alarm is set.
 */

import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '@portico/shared/clock'
import type { RunnerNews, SandboxSpec } from '@portico/shared/control'
import { AppError, type WireError } from '@portico/shared/errors'
import { answer, refuse, type TunnelStream } from '@portico/shared/tunnel'
import type { Usage } from '@portico/shared/usage'
import { type Env, unreachableAfterMs } from '../env.ts'
import { errorAnswer, isCall, readCall, readOwner, type TunnelOwner } from '../guest/wire.ts'
import { isPull, readPull } from '../image/pull-wire.ts'
import { logFailure } from '../log.ts'
import { fromPlatform } from '../platform-errors.ts'
import { isPortCall, readPortCall } from '../port/wire.ts'
import type {
  CallOutcome,
  Checkpoint,
  CheckpointInput,
  CheckpointMade,
  CheckpointRestored,
  Created,
  DrainMode,
  Forked,
  GuestImage,
  RunnerPort,
} from '../ports.ts'
import { RunnerCalls } from '../runner/calls.ts'
import { InsideCalls } from '../runner/inside-calls.ts'
import { hearEvent, hearStatus, type NewsOptions } from '../runner/news.ts'
import { Order } from '../runner/order.ts'
import { Standing } from '../runner/standing.ts'
import { watch } from '../runner/watch.ts'
import { AssignedTable } from '../store/assigned.ts'
import { migrate, runnerSchema } from '../store/migrations.ts'
import { notConnected } from '../tunnel/ask.ts'
import { readDial } from '../tunnel/dial.ts'
import { guestCall } from '../tunnel/guest-call.ts'
import { imagePull } from '../tunnel/image-pull.ts'
import { portCall } from '../tunnel/port-call.ts'
import { readNews } from '../tunnel/read-news.ts'
import { type Session, Sessions } from '../tunnel/sessions.ts'
import { objectsOf } from './objects.ts'

export class RunnerObject extends DurableObject<Env> implements RunnerPort {
  readonly #sessions: Sessions
  readonly #assigned: AssignedTable
  readonly #calls: RunnerCalls
  readonly #inside: InsideCalls
  readonly #standing: Standing
  readonly #order: Order

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    migrate(ctx.storage, runnerSchema)
    this.#assigned = new AssignedTable(ctx.storage.sql)
    this.#standing = new Standing(ctx.storage.kv)
    this.#order = new Order(ctx.storage.kv, this.#assigned)
    this.#sessions = new Sessions({
      ctx,
      clock: systemClock,
      onStream: (session, stream, head) => ctx.waitUntil(this.#serve(session, stream, head)),
      onGone: (tunnel) => this.#gone(tunnel),
    })
    this.#calls = new RunnerCalls(() => this.#sessions.current(), this.#assigned, systemClock)
    this.#inside = new InsideCalls(() => this.#sessions.current(), systemClock)
  }

  override async fetch(request: Request): Promise<Response> {
    if (isCall(request)) {
      return guestCall(() => this.#sessions.current(), readCall(request), request, systemClock)
    }
    if (isPortCall(request)) {
      return portCall(() => this.#sessions.current(), readPortCall(request), request, systemClock)
    }
    if (isPull(request)) {
      return imagePull(() => this.#sessions.current(), readPull(request), request, systemClock)
    }
    // The gate may still take the token of a runner that was removed a moment ago.
    if (this.#standing.removed !== undefined) return errorAnswer(wasRemoved)
    this.ctx.storage.kv.put('owner', readOwner(request))
    await this.#wakeBy(systemClock.now() + unreachableAfterMs(this.env))
    return this.#sessions.accept(readDial(request.headers))
  }

  create(sandbox: string, generation: number, spec: SandboxSpec, trace?: string): Promise<CallOutcome<Created>> {
    return this.#noticing(() => this.#calls.create(sandbox, generation, spec, trace))
  }

  restore(
    sandbox: string,
    generation: number,
    snapshot: string,
    spec: SandboxSpec,
    trace?: string,
  ): Promise<CallOutcome<Created>> {
    return this.#noticing(() => this.#calls.restore(sandbox, generation, snapshot, spec, trace))
  }

  fork(sandbox: string, generation: number, children: readonly string[], trace?: string): Promise<CallOutcome<Forked>> {
    return this.#noticing(() => this.#calls.fork(sandbox, generation, children, trace))
  }

  update(sandbox: string, generation: number, idleTimeout: number): Promise<CallOutcome<null>> {
    return this.#calls.update(sandbox, generation, idleTimeout)
  }

  async destroy(sandbox: string, generation: number): Promise<CallOutcome<Usage>> {
    if (this.#standing.removed === undefined) return this.#calls.destroy(sandbox, generation)
    this.#assigned.remove(sandbox, generation)
    return refused('sandbox_not_found', 'cannot destroy the sandbox: its runner was removed')
  }

  stats(sandbox: string, generation: number): Promise<CallOutcome<Usage>> {
    return this.#calls.stats(sandbox, generation)
  }

  hibernate(sandbox: string, generation: number): Promise<CallOutcome<Usage>> {
    return this.#calls.hibernate(sandbox, generation)
  }

  resume(sandbox: string, generation: number): Promise<CallOutcome<null>> {
    return this.#calls.resume(sandbox, generation)
  }

  snapshot(sandbox: string, generation: number, id: string): Promise<CallOutcome<number>> {
    return this.#calls.snapshot(sandbox, generation, id)
  }

  async deleteSnapshot(id: string): Promise<CallOutcome<null>> {
    if (this.#standing.removed !== undefined) {
      return refused('snapshot_not_found', 'cannot delete the snapshot: its runner was removed')
    }
    return this.#calls.deleteSnapshot(id)
  }

  createCheckpoint(
    sandbox: string,
    generation: number,
    input: CheckpointInput & { createdAt: string },
  ): Promise<CallOutcome<CheckpointMade>> {
    return this.#inside.createCheckpoint({ sandbox, generation }, input)
  }

  checkpoints(sandbox: string, generation: number): Promise<CallOutcome<readonly Checkpoint[]>> {
    return this.#inside.checkpoints({ sandbox, generation })
  }

  waitForCheckpoint(sandbox: string, generation: number, id: string): Promise<CallOutcome<number>> {
    return this.#inside.waitForCheckpoint({ sandbox, generation }, id)
  }

  restoreCheckpoint(sandbox: string, generation: number, id: string): Promise<CallOutcome<CheckpointRestored>> {
    return this.#inside.restoreCheckpoint({ sandbox, generation }, id)
  }

  deleteCheckpoint(sandbox: string, generation: number, id: string): Promise<CallOutcome<null>> {
    return this.#inside.deleteCheckpoint({ sandbox, generation }, id)
  }

  bringImage(sandbox: string, generation: number, image: string): Promise<CallOutcome<GuestImage>> {
    return this.#inside.bringImage({ sandbox, generation }, image)
  }

  async tunnel(): Promise<string | null> {
    return this.#sessions.current()?.id ?? null
  }

  async holds(): Promise<{ running: number; hibernated: number }> {
    return this.#assigned.counts()
  }

  async evacuate(mode: DrainMode | null): Promise<void> {
    this.#standing.setDrain(mode)
    await this.#wakeBy(systemClock.now())
  }

  async remove(lost: boolean): Promise<number> {
    const { running, hibernated } = this.#assigned.counts()
    const count = running + hibernated
    if (count > 0 && !lost) return count
    this.#standing.setRemoved({ lost })
    this.#sessions.end(AppError.fromWire(wasRemoved))
    await this.#wakeBy(systemClock.now())
    return count
  }

  override async alarm(): Promise<void> {
    const owner = this.ctx.storage.kv.get<TunnelOwner>('owner')
    if (owner === undefined) return
    const next = await watch({
      runner: owner.runner,
      standing: this.#standing,
      assigned: this.#assigned,
      objects: objectsOf(this.env),
      clock: systemClock,
      unreachableAfterMs: unreachableAfterMs(this.env),
      isConnected: () => this.#sessions.current() !== undefined,
    })
    if (next !== undefined) await this.#wakeBy(next)
  }

  override webSocketMessage(socket: WebSocket, message: ArrayBuffer | string): void {
    this.#sessions.receive(socket, message)
  }

  override webSocketClose(socket: WebSocket): void {
    this.#sessions.ended(socket)
  }

  override webSocketError(socket: WebSocket): void {
    this.#sessions.ended(socket)
  }

  /** A call of the runner. Its refusal makes the runner say it again. */
  async #serve(session: Session, stream: TunnelStream, head: Uint8Array): Promise<void> {
    try {
      this.#checkInForce(session)
      await this.#hear(session, await readNews(stream, head, systemClock))
      answer(stream)
      stream.end()
    } catch (thrown) {
      const error = fromPlatform(thrown, 'take the news of a runner')
      logFailure('take the news of a runner', error)
      refuse(stream, error.toWire())
    }
  }

  async #hear(session: Session, message: RunnerNews): Promise<void> {
    this.#checkInForce(session)
    await this.#order.take(session.id, message, async () => {
      if (message.op === 'sandbox.event') return hearEvent(this.#news(), message)
      this.#standing.confirmed(systemClock.now())
      await hearStatus(this.#news(), { tunnel: session.id, ...this.#sessions.state }, message)
    })
  }

  /** What a session that was replaced still said is of the past. */
  #checkInForce(session: Session): void {
    if (session.id !== this.#sessions.id) throw notConnected()
  }

  /** Makes the call; if the runner was not there, the region chooses others until it reports again. */
  async #noticing<Value>(call: () => Promise<CallOutcome<Value>>): Promise<CallOutcome<Value>> {
    const at = systemClock.now()
    const outcome = await call()
    const owner = this.ctx.storage.kv.get<TunnelOwner>('owner')
    if (!outcome.ok && outcome.error.code === 'runner_disconnected' && owner !== undefined) {
      const region = objectsOf(this.env).region(owner.region)
      this.ctx.waitUntil(tellRegion(region.silent(owner.runner, at)))
    }
    return outcome
  }

  /** The tunnel is gone: from now on the runner has a while to come back. */
  #gone(tunnel: string): void {
    const now = systemClock.now()
    this.#standing.away(now)
    this.ctx.waitUntil(this.#wakeBy(now + unreachableAfterMs(this.env)))
    this.ctx.waitUntil(this.#tellGone(tunnel))
  }

  /** An alarm that is set already and comes sooner is kept: it sets the next. */
  async #wakeBy(at: number): Promise<void> {
    const { storage } = this.ctx
    const set = await storage.getAlarm()
    if (set === null || set > at) await storage.setAlarm(at)
  }

  async #tellGone(tunnel: string): Promise<void> {
    const { runner, region } = this.#owner()
    await tellRegion(objectsOf(this.env).region(region).disconnected(runner, tunnel))
  }

  #news(): NewsOptions {
    return {
      ...this.#owner(),
      objects: objectsOf(this.env),
      assigned: this.#assigned,
      clock: systemClock,
      destroy: (sandbox, generation) => this.destroy(sandbox, generation),
      stats: (sandbox, generation) => this.stats(sandbox, generation),
    }
  }

  #owner(): TunnelOwner {
    const owner = this.ctx.storage.kv.get<TunnelOwner>('owner')
    if (owner === undefined) throw new AppError('internal', 'cannot serve the runner: it never connected')
    return owner
  }
}

const wasRemoved: WireError = { code: 'unauthorized', message: 'cannot connect the runner: it was removed' }

/** What the region misses it learns from the next report, or from its absence. */
async function tellRegion(telling: Promise<void>): Promise<void> {
  await telling.catch((thrown) => logFailure('tell the region', fromPlatform(thrown, 'tell the region')))
}

/** What a runner would answer that has nothing. */
function refused(code: WireError['code'], message: string): CallOutcome<never> {
  return { ok: false, error: { code, message }, reached: 'answered' }
}
