/**
 * Many streams over one carrier: owns the streams that are open and the end of the connection.
 *
 *   starting ──peer's HELLO──▶ ready ──close(), connection error, silence──▶ closed
 *
 *   ready ──pause(), or the peer's PAUSE──▶ pausing ──both have sent their last frame──▶ paused ──resume()──▶ ready
 *
 * While it is paused it needs no carrier, and what is written waits. After goAway() the peer's new streams are refused, after the peer's go-away this side opens none; what is open goes on.
 * It holds nothing of a stream that is over. The owner's code is never run after the end.
 */

import { systemClock } from '../clock.ts'
import { AppError, type WireError } from '../errors.ts'
import { Decoder } from './decode.ts'
import { readU32, writeU32 } from './encode.ts'
import { frameType } from './frame.ts'
import { encodeError, encodeHello, markName, newMark, parseError, parseHello, versionError } from './hello.ts'
import { creditLength, helloLimitMs, maxStreams, pingLength } from './limits.ts'
import { Sender } from './sender.ts'
import { Silence } from './silence.ts'
import { Stream, type StreamHost } from './stream.ts'
import { StreamIds } from './stream-ids.ts'
import type { Carrier, Hello, MuxerOptions, TunnelStream } from './types.ts'

const nothing = new Uint8Array(0)
const ignore = () => undefined

export class Muxer {
  readonly #options: MuxerOptions
  #decoder: Decoder
  #carrier: Carrier
  readonly #sender: Sender
  readonly #ids: StreamIds
  readonly #host: StreamHost
  readonly #streams = new Map<number, Stream>()
  readonly #ready = Promise.withResolvers<Hello>()
  readonly #closed = Promise.withResolvers<AppError | undefined>()
  #drained: PromiseWithResolvers<void> | undefined
  #peer: Hello | undefined
  #isClosed = false
  #openOfPeer = 0
  #silence: Silence | undefined
  #keepsAlive = true
  #stopWaiting: () => void = ignore
  /** This side has asked the peer to pause, and no answer has come. */
  #pausing: { readonly mark: string; readonly settled: PromiseWithResolvers<string> } | undefined
  #paused: string | undefined
  /** The peer has sent its last frame on this carrier: what comes after means nothing. */
  #deaf = false
  /** What the peer's new streams meet. */
  #ownGoAway: WireError | undefined
  /** What this side's new streams meet. */
  #peerGoAway: WireError | undefined

  constructor(options: MuxerOptions) {
    const { carrier, opens, resume, greeted, onReserve, soon } = options
    this.#options = options
    this.#decoder = this.#newDecoder()
    this.#carrier = carrier
    this.#sender = new Sender({
      carrier,
      soon,
      onCarrierFailed: (cause) => this.close(this.#disconnected('sending failed', cause)),
      onOverload: (error) => this.close(error),
    })
    this.#ids = new StreamIds({ opens, firstId: resume?.firstId, onReserve })
    this.#host = {
      wake: (stream) => this.#sender.wake(stream),
      credit: (id, amount) => this.#sendCredit(id, amount),
      reset: (id, error) => this.#sender.send(frameType.reset, id, encodeError(error)),
      over: (stream) => this.#forget(stream),
    }
    this.#ready.promise.catch(ignore)
    const peer = greeted ?? resume?.peer
    if (peer) this.#begin(peer)
    else this.#sayHello()
  }

  /** The peer's HELLO. Rejects if the connection ends without it. */
  get ready(): Promise<Hello> {
    return this.#ready.promise
  }

  /** Resolves when the connection has ended: with undefined after a planned end, with the reason otherwise. */
  get closed(): Promise<AppError | undefined> {
    return this.#closed.promise
  }

  /** Streams of both openers that are not over. */
  get openStreams(): number {
    return this.#streams.size
  }

  /** Resolves once no stream is open, or the connection has ended. */
  drained(): Promise<void> {
    if (this.#streams.size === 0) return Promise.resolve()
    this.#drained ??= Promise.withResolvers()
    return this.#drained.promise
  }

  /** Opens a stream. Its OPEN is sent once the peer's HELLO is known. Throws if the connection takes no new streams. */
  open(head: Uint8Array = nothing): TunnelStream {
    if (this.#isClosed) throw this.#disconnected('it has ended')
    if (this.#peerGoAway) throw AppError.fromWire(this.#peerGoAway)
    if (this.#streams.size - this.#openOfPeer >= maxStreams) throw new AppError('too_many_streams', tooMany)
    const id = this.#ids.take()
    if (id === undefined) {
      const error = new AppError('overloaded', 'cannot open a stream: the connection has used up its ids')
      this.goAway(error)
      throw error
    }
    const stream = this.#make(id, 'this side', head)
    this.#sender.wake(stream)
    return stream
  }

  /** Takes bytes from the carrier, which must not change them afterwards. */
  receive(bytes: Uint8Array): void {
    if (this.#isClosed || this.#deaf) return
    this.#silence?.heard()
    try {
      if (this.#options.messages) this.#decoder.pushMessage(bytes)
      else this.#decoder.push(bytes)
    } catch (cause) {
      if (!this.#deaf)
        this.close(AppError.from(cause, 'cannot go on with the connection: a frame could not be handled'))
    }
  }

  /** Tells the peer that no new streams are accepted; those that are open go on. */
  goAway(error: WireError): void {
    if (this.#ownGoAway || this.#isClosed) return
    this.#ownGoAway = error
    this.#sender.send(frameType.goaway, 0, encodeError(error))
  }

  /** Ends the connection and every open stream with it. Before a planned end, without an error, what may be sent is sent. */
  close(error?: AppError): void {
    if (!error && !this.#isClosed) this.#sender.flush()
    if (this.#isClosed) return
    this.#isClosed = true
    this.#sender.stop()
    this.#silence?.stop()
    this.#stopWaiting()
    try {
      this.#carrier.close(error)
    } catch {
      // It is gone already.
    }
    const reason = error ?? this.#disconnected('it ended')
    for (const stream of [...this.#streams.values()]) stream.fail(reason)
    this.#drained?.resolve()
    this.#pausing?.settled.reject(reason)
    this.#ready.reject(reason)
    this.#closed.resolve(error)
  }

  /** The mark of the pause, while the session stands still and is held. Then the end of its carrier is not its end: the owner does not close it. */
  get paused(): string | undefined {
    return this.#paused
  }

  /**
   * Brings both sides to a frame's end, with nothing on the way; resolves with the mark that the peer will name. The carrier is the owner's to close then.
   * Rejects if the connection ends first, which the owner sees to when it takes too long. For the side that opens odd ids.
   */
  pause(): Promise<string> {
    if (this.#isClosed || !this.#peer) return Promise.reject(this.#disconnected('it is not open'))
    if (this.#paused !== undefined) return Promise.resolve(this.#paused)
    if (this.#pausing) return this.#pausing.settled.promise
    const mark = newMark()
    const settled = Promise.withResolvers<string>()
    settled.promise.catch(ignore)
    this.#pausing = { mark: markName(mark), settled }
    this.#silence?.stop()
    this.#sender.pause(frameType.pause, mark, ignore)
    return settled.promise
  }

  /** Goes on over another carrier, after HELLOs in which the peer named the mark and this side, too. The streams keep their windows. */
  resume(carrier: Carrier): void {
    if (this.#isClosed || this.#paused === undefined) throw this.#disconnected('it is not paused')
    this.#paused = undefined
    this.#deaf = false
    this.#decoder = this.#newDecoder()
    this.#carrier = carrier
    this.#sender.resume(carrier)
    this.keepAlive(this.#keepsAlive)
  }

  #newDecoder(): Decoder {
    return new Decoder((type, id, payload) => this.#onFrame(type, id, payload))
  }

  /** The peer's PAUSE: this side's last frame on this carrier is PAUSED. */
  #onPause(payload: Uint8Array): void {
    if (!this.#options.holds) throw new AppError('protocol_error', 'cannot go on: the peer may not pause the session')
    const mark = markName(payload)
    this.#deaf = true
    this.#silence?.stop()
    this.#sender.pause(frameType.paused, nothing, () => {
      this.#paused = mark
    })
  }

  #onPaused(): void {
    if (!this.#pausing) throw new AppError('protocol_error', 'cannot go on: the peer paused by itself')
    const { mark, settled } = this.#pausing
    this.#pausing = undefined
    this.#paused = mark
    this.#deaf = true
    settled.resolve(mark)
  }

  #sayHello(): void {
    const { hello, keepalive, clock = keepalive?.clock ?? systemClock } = this.#options
    this.#sender.send(frameType.hello, 0, encodeHello(hello))
    this.#stopWaiting = clock.after(helloLimitMs, () =>
      this.close(this.#disconnected(`no hello came within ${helloLimitMs} ms`)),
    )
  }

  /** The peer's HELLO is known. */
  #begin(peer: Hello): void {
    this.#stopWaiting()
    const tooOld = versionError(peer)
    if (tooOld) {
      this.goAway(tooOld)
      this.#sender.flush()
      this.close(tooOld)
      return
    }
    this.#peer = peer
    this.#watchSilence()
    for (const stream of this.#streams.values()) stream.onCredit(peer.window)
    this.#sender.release()
    this.#ready.resolve(peer)
  }

  /** Watches for silence, as `keepalive` says, or no longer: a peer that stands still answers nothing and is not gone. On from the start. */
  keepAlive(on: boolean): void {
    this.#keepsAlive = on
    this.#silence?.stop()
    this.#silence = undefined
    if (on && this.#peer && !this.#isClosed) this.#watchSilence()
  }

  #watchSilence(): void {
    const { keepalive } = this.#options
    if (!keepalive || !this.#keepsAlive || this.#pausing || this.#deaf) return
    const limit = keepalive.idleMs + keepalive.limitMs
    this.#silence = new Silence({
      ...keepalive,
      ask: () => this.#sender.send(frameType.ping, 0, new Uint8Array(pingLength)),
      dead: () => this.close(this.#disconnected(`nothing came for ${limit} ms`)),
    })
  }

  #onFrame(type: number, id: number, payload: Uint8Array): void {
    if (this.#isClosed || this.#deaf) return
    if (!this.#peer) {
      if (type !== frameType.hello)
        throw new AppError('protocol_error', 'cannot start the connection: the first frame is no hello')
      this.#begin(parseHello(payload))
    } else if (id === 0) this.#onConnectionFrame(type, payload)
    else {
      const stream = this.#streams.get(id)
      if (stream) this.#onStreamFrame(stream, type, payload)
      else this.#onStrangerFrame(type, id, payload)
    }
  }

  #onConnectionFrame(type: number, payload: Uint8Array): void {
    switch (type) {
      case frameType.ping:
        this.#sender.pong(payload)
        break
      case frameType.goaway: {
        const error = parseError(payload, 'a go-away')
        if (this.#peerGoAway) break
        this.#peerGoAway = error
        guard(() => this.#options.onGoAway?.(error), ignore)
        break
      }
      case frameType.pause:
        this.#onPause(payload)
        break
      case frameType.paused:
        this.#onPaused()
        break
      case frameType.hello:
        throw new AppError('protocol_error', 'cannot go on: the peer said hello twice')
    }
  }

  #onStreamFrame(stream: Stream, type: number, payload: Uint8Array): void {
    switch (type) {
      case frameType.data:
        stream.onData(payload)
        break
      case frameType.credit:
        stream.onCredit(readU32(payload, 0))
        break
      case frameType.end:
        stream.onEnd()
        break
      case frameType.reset:
        stream.fail(AppError.fromWire(parseError(payload, 'a reset')))
        break
      case frameType.open:
        if (stream.byPeer) this.#ids.openedByPeer(stream.id)
        else stream.onAnswer(payload)
        break
    }
  }

  /** A frame for a stream that is not open. */
  #onStrangerFrame(type: number, id: number, payload: Uint8Array): void {
    if (type === frameType.open && !this.#ids.isOwn(id)) this.#onOpen(id, payload)
    else if (type === frameType.reset) parseError(payload, 'a reset')
    else {
      const former = this.#ids.former(id)
      if (!former) throw new AppError('protocol_error', `cannot go on: stream ${id} was never opened`)
      const isAnswer = this.#ids.isOwn(id) && (type === frameType.open || type === frameType.data)
      if (former === 'unremembered' && isAnswer)
        this.#host.reset(id, { code: 'cancelled', message: 'cannot go on with the stream: nobody waits for it' })
    }
  }

  /** The peer opens a stream. */
  #onOpen(id: number, head: Uint8Array): void {
    this.#ids.openedByPeer(id)
    const { onStream } = this.#options
    const refusal = this.#ownGoAway ?? refuse(onStream !== undefined, this.#openOfPeer)
    if (refusal || !onStream) {
      if (refusal) this.#host.reset(id, refusal)
      return
    }
    // The head may be kept for long, the chunk it came in may be large.
    const kept = head.slice()
    const stream = this.#make(id, 'peer', kept)
    guard(
      () => onStream(stream, kept),
      (cause) => stream.reset(AppError.from(cause)),
    )
  }

  #make(id: number, opener: 'this side' | 'peer', head: Uint8Array): Stream {
    const { window } = this.#options.hello
    const stream = new Stream({ host: this.#host, id, opener, head, window, credit: this.#peer?.window ?? 0 })
    this.#streams.set(id, stream)
    if (stream.byPeer) this.#openOfPeer++
    return stream
  }

  #forget(stream: Stream): void {
    this.#streams.delete(stream.id)
    this.#sender.leave(stream)
    if (stream.byPeer) this.#openOfPeer--
    if (this.#streams.size > 0) return
    this.#drained?.resolve()
    this.#drained = undefined
  }

  #sendCredit(id: number, amount: number): void {
    const payload = new Uint8Array(creditLength)
    writeU32(payload, 0, amount)
    this.#sender.send(frameType.credit, id, payload)
  }

  #disconnected(why: string, cause?: unknown): AppError {
    const { disconnected } = this.#options
    const subject = disconnected.replace('_disconnected', '')
    return new AppError(disconnected, `cannot use the connection to the ${subject}: ${why}`, { cause })
  }
}

const tooMany = `cannot open a stream: ${maxStreams} are open`

function refuse(handled: boolean, open: number): WireError | undefined {
  if (!handled) return { code: 'unsupported', message: 'cannot open a stream: this side accepts none' }
  return open < maxStreams ? undefined : { code: 'too_many_streams', message: tooMany }
}

/** Runs the owner's code, whose mistakes must not end the connection. */
function guard(run: () => void, failed: (cause: unknown) => void): void {
  try {
    run()
  } catch (cause) {
    failed(cause)
  }
}
