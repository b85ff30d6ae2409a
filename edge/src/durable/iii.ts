/** The workers of one account in one region: their sockets, which outlive the object's memory, and what they invoke, in `iii/engine.ts`. */

import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { servicesOf } from '../app.ts'
import type { Env } from '../env.ts'
import { errorAnswer } from '../guest/wire.ts'
import { contextOf } from '../iii/context-of.ts'
import { Engine, type WorkerSocket } from '../iii/engine.ts'
import { ExecLocks } from '../iii/exec-locks.ts'
import { readWorker, type WorkerNote } from '../iii/join.ts'
import { WorkerKeys } from '../iii/keys.ts'
import { functions } from '../iii/table.ts'
import { IiiStore, iiiSchema } from '../store/iii.ts'
import { migrate } from '../store/migrations.ts'
import { Agenda } from './agenda.ts'
import { inBackground } from './background.ts'
import { objectsOf } from './objects.ts'

/** Of the isolate, as the front door's are. */
const services = servicesOf(systemClock)
const tag = 'worker'
const restMs = 1000

export class IiiObject extends DurableObject<Env> {
  readonly #engine: Engine
  readonly #agenda: Agenda

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('{"type":"ping"}', '{"type":"pong"}'))
    migrate(ctx.storage, iiiSchema)
    const objects = objectsOf(env)
    const surroundings = { env, objects, services, locks: new ExecLocks() }
    this.#engine = new Engine({
      store: new IiiStore(ctx.storage.sql),
      functions,
      keys: new WorkerKeys(systemClock, objects),
      requests: services.requests,
      objects,
      clock: systemClock,
      sockets: (worker) => ctx.getWebSockets(worker).filter(isOpen).map(workerSocket),
      count: () => ctx.getWebSockets(tag).length,
      context: (origin) => contextOf(surroundings, origin),
      background: (work) => inBackground('serve a worker', work),
      wakeAt: (at) => inBackground('set the alarm of the workers', this.#agenda.notLaterThan(at)),
    })
    const job = { name: 'forget answers', next: () => this.#engine.next(), restMs }
    this.#agenda = new Agenda(ctx.storage, systemClock, [{ ...job, run: async () => this.#engine.expire() }])
    this.#engine.recover()
  }

  /** A worker that comes in. */
  override async fetch(request: Request): Promise<Response> {
    const join = readWorker(request)
    try {
      if (join === undefined) throw new AppError('not_found', 'cannot join: there is no such path')
      const { note, token } = await this.#engine.admit(join)
      const { 0: client, 1: server } = new WebSocketPair()
      server.serializeAttachment(note)
      this.ctx.acceptWebSocket(server, [tag, note.worker])
      this.#engine.welcome(workerSocket(server), token)
      return new Response(null, { status: 101, webSocket: client })
    } catch (thrown) {
      return errorAnswer(AppError.from(thrown).toWire())
    }
  }

  override webSocketMessage(socket: WebSocket, message: ArrayBuffer | string): void {
    this.#engine.message(workerSocket(socket), message)
  }

  override webSocketClose(socket: WebSocket): void {
    this.#left(socket)
  }

  override webSocketError(socket: WebSocket): void {
    this.#left(socket)
  }

  override async alarm(): Promise<void> {
    await this.#agenda.run()
  }

  #left(socket: WebSocket): void {
    this.#engine.left(workerSocket(socket).note.worker)
    closeQuietly(socket, 1000, '')
  }
}

function workerSocket(socket: WebSocket): WorkerSocket {
  return {
    note: socket.deserializeAttachment() as WorkerNote,
    send: (frame) => socket.send(frame),
    close: (code, reason) => closeQuietly(socket, code, reason),
  }
}

function isOpen({ readyState }: WebSocket): boolean {
  return readyState === WebSocket.OPEN
}

function closeQuietly(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason)
  } catch {
    // It is closed.
  }
}
