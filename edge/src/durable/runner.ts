/** One runner: the sockets of its tunnel, the calls on them, and which sandboxes the edge has given it. Guest requests come in through `fetch`, as they carry bodies. */

import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '@portico/shared/clock'
import { runnerCall, type SandboxSpec } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { answer, parseHead, refuse, type TunnelStream } from '@portico/shared/tunnel'
import type { Usage } from '@portico/shared/usage'
import type { Env } from '../env.ts'
import { readCall, readOwner, type TunnelOwner } from '../guest/wire.ts'
import { logFailure } from '../log.ts'
import { fromPlatform } from '../platform-errors.ts'
import type { CallOutcome, Created, Forked, RunnerPort } from '../ports.ts'
import { RunnerCalls } from '../runner/calls.ts'
import { hearEvent, hearStatus, type NewsOptions } from '../runner/news.ts'
import { AssignedTable } from '../store/assigned.ts'
import { migrate, runnerSchema } from '../store/migrations.ts'
import { guestCall } from '../tunnel/guest-call.ts'
import { type Session, Sessions } from '../tunnel/sessions.ts'
import { objectsOf } from './objects.ts'

export class RunnerObject extends DurableObject<Env> implements RunnerPort {
  readonly #sessions: Sessions
  readonly #assigned: AssignedTable
  readonly #calls: RunnerCalls

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    migrate(ctx.storage, runnerSchema)
    this.#assigned = new AssignedTable(ctx.storage.sql)
    this.#sessions = new Sessions({
      ctx,
      clock: systemClock,
      onStream: (session, stream, head) => ctx.waitUntil(this.#serve(session, stream, head)),
      onGone: (tunnel) => ctx.waitUntil(this.#tellGone(tunnel)),
    })
    this.#calls = new RunnerCalls(() => this.#sessions.current(), this.#assigned, systemClock)
  }

  override async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === '/call') {
      return guestCall(this.#sessions.current(), readCall(request), request, systemClock)
    }
    this.ctx.storage.kv.put('owner', readOwner(request))
    return this.#sessions.accept()
  }

  create(sandbox: string, generation: number, spec: SandboxSpec): Promise<CallOutcome<Created>> {
    return this.#calls.create(sandbox, generation, spec)
  }

  restore(sandbox: string, generation: number, snapshot: string, spec: SandboxSpec): Promise<CallOutcome<Created>> {
    return this.#calls.restore(sandbox, generation, snapshot, spec)
  }

  fork(sandbox: string, generation: number, children: readonly string[]): Promise<CallOutcome<Forked>> {
    return this.#calls.fork(sandbox, generation, children)
  }

  update(sandbox: string, generation: number, idleTimeout: number): Promise<CallOutcome<null>> {
    return this.#calls.update(sandbox, generation, idleTimeout)
  }

  destroy(sandbox: string, generation: number): Promise<CallOutcome<Usage>> {
    return this.#calls.destroy(sandbox, generation)
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

  deleteSnapshot(id: string): Promise<CallOutcome<null>> {
    return this.#calls.deleteSnapshot(id)
  }

  async tunnel(): Promise<string | null> {
    return this.#sessions.current()?.id ?? null
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
      const message = parseHead(head, runnerCall)
      if (message.op === 'runner.status') await hearStatus(this.#news(), session.id, message)
      else await hearEvent(this.#news(), message)
      answer(stream)
      stream.end()
    } catch (thrown) {
      const error = fromPlatform(thrown, 'take the news of a runner')
      logFailure('take the news of a runner', error)
      refuse(stream, error.toWire())
    }
  }

  async #tellGone(tunnel: string): Promise<void> {
    const { runner, region } = this.#owner()
    await objectsOf(this.env)
      .region(region)
      .disconnected(runner, tunnel)
      .catch((thrown) => logFailure('tell the region', fromPlatform(thrown, 'tell the region')))
  }

  #news(): NewsOptions {
    return {
      ...this.#owner(),
      objects: objectsOf(this.env),
      assigned: this.#assigned,
      clock: systemClock,
      destroy: (sandbox, generation) => this.destroy(sandbox, generation),
    }
  }

  #owner(): TunnelOwner {
    const owner = this.ctx.storage.kv.get<TunnelOwner>('owner')
    if (owner === undefined) throw new AppError('internal', 'cannot serve the runner: it never connected')
    return owner
  }
}
