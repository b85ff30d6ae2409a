/** One channel of iii: its sockets, and its work in `iii/channels/`. Asked for an id that was never made it writes nothing. */

import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import type { Env } from '../env.ts'
import { Channel, type ChannelSocket, type ChannelState, refusedBySandbox } from '../iii/channels/channel.ts'
import { fileBody } from '../iii/channels/file-body.ts'
import { channelSchema, type Frame, WaitingFrames } from '../iii/channels/waiting-frames.ts'
import { bodyAnswer, type ChannelPort, type End, type FileSource, readVisit, refused } from '../iii/channels/wire.ts'
import { logFailure } from '../log.ts'
import { type Outcome, outcome } from '../outcome.ts'
import { fromPlatform } from '../platform-errors.ts'
import type { Caller } from '../ports.ts'
import { migrate } from '../store/migrations.ts'

export class IiiChannelObject extends DurableObject<Env> implements ChannelPort {
  #channel: Channel | undefined
  readonly #sockets = new Map<End, WebSocket>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const state = ctx.storage.kv.get<ChannelState>('channel')
    if (state !== undefined) this.#channel = this.#open(state, true)
  }

  open({ account, region }: Caller, source: FileSource | null): Promise<Outcome<void>> {
    return outcome('open a channel', () => {
      if (this.#channel !== undefined) throw new AppError('conflict', 'cannot open the channel: its id is in use')
      const ends = { writer: 'absent', reader: 'absent', broken: null } as const
      const state: ChannelState = { account, region, createdAt: systemClock.now(), source, ...ends }
      migrate(this.ctx.storage, channelSchema)
      this.ctx.storage.kv.put('channel', state)
      this.#channel = this.#open(state, false)
    })
  }

  async gaveUp(): Promise<string | null> {
    this.#channel?.break(refusedBySandbox)
    return this.#channel?.state.broken ?? null
  }

  /** A socket that joins an end, or a function that takes what is written. */
  override async fetch(request: Request): Promise<Response> {
    try {
      const visit = readVisit(request)
      const channel = this.#channel
      if (channel === undefined) throw unknown()
      if (visit.kind === 'join') return this.#join(channel, visit.end)
      const { account, region } = channel.state
      if (visit.caller.account !== account || visit.caller.region !== region) throw unknown()
      return bodyAnswer(await channel.take(request.signal))
    } catch (thrown) {
      return refused(thrown)
    }
  }

  override alarm(): void {
    this.#channel?.tick()
  }

  #join(channel: Channel, end: End): Response {
    channel.assertFree(end)
    const { 0: client, 1: server } = new WebSocketPair()
    // Not one of those that outlive the object's memory: the platform ends their connections only when the object sleeps, 10 s after the close, and a
    // client's stream ends with its connection.
    server.binaryType = 'arraybuffer'
    server.accept()
    const left = (code: number) => {
      if (!this.#sockets.delete(end)) return
      channel.left(end, code)
      closeQuietly(server)
    }
    server.addEventListener('message', ({ data }) => channel.message(end, frameOf(data)))
    server.addEventListener('close', ({ code }) => left(code))
    server.addEventListener('error', () => left(1006))
    this.#sockets.set(end, server)
    channel.joined(end)
    return new Response(null, { status: 101, webSocket: client })
  }

  #open(state: ChannelState, woke: boolean): Channel {
    const { ctx, env } = this
    const { storage } = ctx
    migrate(storage, channelSchema)
    return new Channel({
      state,
      put: (changed) => storage.kv.put('channel', changed),
      waiting: new WaitingFrames(storage.sql),
      socket: (end) => socketOf(this.#sockets.get(end)),
      setAlarm: (at) => ctx.waitUntil(storage.setAlarm(at)),
      forget: () => ctx.waitUntil(this.#forget()),
      read: (source, signal) => fileBody(env, state, source, signal),
      clock: systemClock,
      background: (work) => ctx.waitUntil(work.catch(logged)),
      woke,
    })
  }

  async #forget(): Promise<void> {
    this.#channel = undefined
    await this.ctx.storage.deleteAlarm()
    await this.ctx.storage.deleteAll()
  }
}

function socketOf(socket: WebSocket | undefined): ChannelSocket | undefined {
  if (socket === undefined) return undefined
  return {
    send: (frame) => socket.send(frame),
    close: (code, reason) => socket.close(code, reason.slice(0, 100)),
  }
}

function frameOf(data: ArrayBuffer | string | Blob): Frame {
  return typeof data === 'string' ? data : new Uint8Array(data as ArrayBuffer)
}

function unknown(): AppError {
  return new AppError('not_found', 'cannot join the channel: there is none with this id')
}

function logged(thrown: unknown): void {
  const error = fromPlatform(thrown, 'serve a channel')
  if (error.code === 'internal') logFailure('serve a channel', error)
}

function closeQuietly(socket: WebSocket): void {
  try {
    socket.close(1000, '')
  } catch {
    // It is closed.
  }
}
