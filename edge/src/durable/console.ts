/** One console, terminal or shell: its sockets, which outlive the object's memory, and its session in `console/`. Asked for an id that was never opened it writes nothing. */

import { DurableObject } from 'cloudflare:workers'
import type { ConsoleRecord } from '@portico/shared/api'
import { systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import type { Frame } from '../console/frames.ts'
import { GuestLine } from '../console/guest-line.ts'
import { type Join, readJoin } from '../console/join.ts'
import { Session } from '../console/session.ts'
import { type ConsoleState, publicConsole } from '../console/state.ts'
import type { ViewerNote, ViewerSocket } from '../console/viewer.ts'
import type { Env } from '../env.ts'
import { errorAnswer } from '../guest/wire.ts'
import { logFailure } from '../log.ts'
import { type Outcome, outcome } from '../outcome.ts'
import { fromPlatform } from '../platform-errors.ts'
import type { Caller, ConsolePort, NewConsole } from '../ports.ts'
import { consoleSchema, migrate } from '../store/migrations.ts'
import { Scrollback } from '../store/scrollback.ts'
import { objectsOf, runnerFetcher } from './objects.ts'

export class ConsoleObject extends DurableObject<Env> implements ConsolePort {
  #session: Session | undefined
  /** So that a socket has one viewer for as long as the object is awake. */
  readonly #sockets = new WeakMap<WebSocket, ViewerSocket>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('ping', 'pong'))
    const state = ctx.storage.kv.get<ConsoleState>('console')
    if (state !== undefined) this.#session = this.#open(state)
  }

  open(input: NewConsole): Promise<Outcome<ConsoleRecord>> {
    return outcome('open a console', async () => {
      if (this.#session !== undefined) throw new AppError('conflict', 'cannot open the console: its id is in use')
      const { id, kind, run, account, region, name, cols, rows, lingerMs, start } = input
      const line = this.#line(run, { account, region })
      const { id: process } = await line.start(kind === 'shell' ? '/shells' : '/processes', start)
      const now = systemClock.now()
      const place = { id, kind, run, account, region, process, name, cols, rows }
      const life = { createdAt: now, lingerMs, leftAt: now, stoodAt: 0, over: null, overAt: null }
      const state: ConsoleState = { ...place, ...life }
      migrate(this.ctx.storage, consoleSchema)
      this.ctx.storage.kv.put('console', state)
      this.#session = this.#open(state, true)
      // Looked at soon even if nobody joins.
      await this.ctx.storage.setAlarm(now)
      return publicConsole(state, 0)
    })
  }

  describe(caller: Caller, run: string): Promise<Outcome<ConsoleRecord>> {
    return outcome('read a console', () => this.#of(caller, run).describe())
  }

  end(caller: Caller, run: string): Promise<Outcome<void>> {
    return outcome('end a console', async () => {
      const session = this.#of(caller, run)
      await session.end()
      await this.#forget(session.state)
    })
  }

  moved(to: 'hibernated' | 'running'): Promise<Outcome<void>> {
    return outcome('tell a console', () => this.#session?.moved(to))
  }

  /** A socket that joins. */
  override async fetch(request: Request): Promise<Response> {
    const join = readJoin(request)
    try {
      const session = this.#joined(join)
      const { 0: client, 1: server } = new WebSocketPair()
      this.ctx.acceptWebSocket(server)
      session.join(this.#socket(server), join.access, join.from)
      return new Response(null, { status: 101, webSocket: client })
    } catch (thrown) {
      return errorAnswer(AppError.from(thrown).toWire())
    }
  }

  override webSocketMessage(socket: WebSocket, message: ArrayBuffer | string): void {
    this.#session?.message(this.#socket(socket), message)
  }

  override webSocketClose(socket: WebSocket): void {
    this.#session?.left(this.#socket(socket))
    closeQuietly(socket)
  }

  override webSocketError(socket: WebSocket): void {
    this.#session?.left(this.#socket(socket))
    closeQuietly(socket)
  }

  override async alarm(): Promise<void> {
    await this.#session?.tick()
  }

  #joined({ caller, run, kind }: Join): Session {
    const session = this.#of(caller, run)
    if (session.state.kind !== kind) throw unknown()
    return session
  }

  #of(caller: Caller, run: string): Session {
    const state = this.#session?.state
    const isTheirs = state?.account === caller.account && state.region === caller.region && state.run === run
    if (this.#session === undefined || !isTheirs) throw unknown()
    return this.#session
  }

  #line(run: string, caller: Caller): GuestLine {
    const fetcher = (runner: string) => runnerFetcher(this.env, runner)
    return new GuestLine({ objects: objectsOf(this.env), fetcher, caller, sandbox: run })
  }

  #open(state: ConsoleState, isNew = false): Session {
    const { ctx } = this
    const { storage } = ctx
    const line = this.#line(state.run, state)
    migrate(storage, consoleSchema)
    return new Session({
      state,
      put: (changed) => storage.kv.put('console', changed),
      scrollback: new Scrollback(storage.sql),
      wire: line.process(state.process),
      reachable: () => line.reachable(),
      sockets: () => ctx.getWebSockets().map((socket) => this.#socket(socket)),
      setAlarm: (at) => ctx.waitUntil(at === undefined ? storage.deleteAlarm() : storage.setAlarm(at)),
      forget: () => this.#forget(state),
      clock: systemClock,
      background: (work) => ctx.waitUntil(work.catch(logged)),
      isNew,
    })
  }

  /** Takes it off its sandbox's list, and forgets everything. */
  async #forget({ account, region, run, id, kind }: ConsoleState): Promise<void> {
    if (kind === 'console') await objectsOf(this.env).sandbox(run).removeConsole({ account, region }, id)
    this.#session = undefined
    await this.ctx.storage.deleteAlarm()
    await this.ctx.storage.deleteAll()
  }

  #socket(socket: WebSocket): ViewerSocket {
    const known = this.#sockets.get(socket)
    if (known !== undefined) return known
    const made: ViewerSocket = {
      send: (frame: Frame) => socket.send(frame),
      close: (code, reason) => socket.close(code, reason),
      readNote: () => (socket.deserializeAttachment() as ViewerNote | null) ?? undefined,
      writeNote: (note) => socket.serializeAttachment(note),
    }
    this.#sockets.set(socket, made)
    return made
  }
}

function unknown(): AppError {
  return new AppError('not_found', 'cannot find the console: there is none with this id')
}

function logged(thrown: unknown): void {
  const error = fromPlatform(thrown, 'serve a console')
  if (error.code === 'internal') logFailure('serve a console', error)
}

function closeQuietly(socket: WebSocket): void {
  try {
    socket.close(1000, '')
  } catch {
    // It is closed.
  }
}
