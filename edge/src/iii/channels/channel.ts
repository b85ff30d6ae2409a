/**
 * One channel: what a writer sends goes to one reader, in order. Each end is a socket of a client, or the sandbox: a file is read into the channel, or a
 * function takes what is written and puts it into a file.
 *
 *   open ──the reader joins or takes──▶ flowing ──the writer closes, all is passed on──▶ over: everything is forgotten
 *    ├── an end is missing for 5 minutes ──▶ broken        └── an end breaks off, too much waits, interrupted ──▶ broken
 *   broken: both ends are closed with 1011, a reader is told S218 in a text message first; remembered for a minute, then over
 *
 * What waits for a reader that has not come outlives the object's memory; sockets do not, nor what the sandbox's side has in hand: an object that wakes
 * anew in the middle of that breaks the channel. The platform reads a writer's messages without being asked, so what waits is bounded.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { pieces } from '../../body.ts'
import { seal, sealedPiece } from '../../guest/sealed-body.ts'
import { Fault, handlerError } from '../errors.ts'
import { type Frame, piecesOf, type WaitingFrames } from './waiting-frames.ts'
import type { End, FileSource } from './wire.ts'

/** What may wait for the reader. */
export const mostWaiting = 67_108_864
/** What goes to a reader's socket in all: it takes at its own pace, and nobody is told of that. */
export const mostTold = 268_435_456
const tooMuch = 'more than 256 MiB go through no channel: take GET /v1/runs/{id}/files'
/** What one text message may have. */
const mostText = 1_048_576
/** No binary frame of ours is longer. */
const frameBytes = 65_536
/** How long an end may be missing, and how long nothing may come that a function waits for. */
export const unjoinedMs = 300_000
/** A channel is no connection for good. */
const oldestMs = 86_400_000
/** How often work of the sandbox's side is looked at, and how long it is remembered that a channel broke. */
export const lookMs = 30_000
const rememberedMs = 60_000
const codes = { done: 1000, broken: 1011 } as const
/** Why a channel broke whose reader, a function, met an error of its own. */
export const refusedBySandbox = 'the sandbox did not take all of it'

export interface ChannelState {
  readonly account: string
  readonly region: string
  readonly createdAt: number
  /** The writer, where it is a file. */
  readonly source: FileSource | null
  readonly writer: 'absent' | 'joined' | 'done'
  readonly reader: 'absent' | 'joined' | 'taken'
  /** Why it broke. */
  readonly broken: string | null
}

export interface ChannelSocket {
  send(frame: Frame): void
  close(code: number, reason: string): void
}

export interface ChannelParts {
  readonly state: ChannelState
  put(state: ChannelState): void
  readonly waiting: WaitingFrames
  /** The socket at an end, as long as it is open. */
  socket(end: End): ChannelSocket | undefined
  setAlarm(at: number): void
  /** Everything stored goes, with the channel. */
  forget(): void
  /** What is in the file. */
  read(source: FileSource, signal: AbortSignal): Promise<{ body: ReadableStream; length: number | undefined }>
  readonly clock: Clock
  background(work: Promise<void>): void
  /** Whether its memory was lost since it was made. */
  readonly woke: boolean
}

export class Channel {
  readonly #parts: ChannelParts
  #state: ChannelState
  /** For a function that takes them. */
  readonly #inHand: Uint8Array[] = []
  #inHandBytes = 0
  #told = 0
  #changed = Promise.withResolvers<void>()
  readonly #end = new AbortController()
  #isOver = false
  #movedAt: number

  constructor(parts: ChannelParts) {
    this.#parts = parts
    this.#state = parts.state
    this.#movedAt = parts.clock.now()
    if (parts.woke && this.#isBegun()) this.break('the platform interrupted it')
    else this.#setAlarm()
  }

  get state(): ChannelState {
    return this.#state
  }

  /** Throws unless the end is free. */
  assertFree(end: End): void {
    const { broken, reader, writer, source } = this.#state
    if (broken !== null) throw new AppError('not_found', 'cannot join the channel: it is over')
    const held = end === 'read' ? reader !== 'absent' : writer !== 'absent' || source !== null
    if (held) throw new AppError('conflict', `cannot join the channel: its ${end} end is in use`)
  }

  /** A socket is at this end from now on; it is one of `socket(end)` already. */
  joined(end: End): void {
    this.#become(end === 'read' ? { reader: 'joined' } : { writer: 'joined' })
    const { source } = this.#state
    if (end === 'read' && source !== null) this.#parts.background(this.#feed(source))
    if (end === 'read' && source === null) this.#catchUp()
  }

  message(end: End, frame: Frame): void {
    if (end === 'read' || this.#isOver || this.#state.broken !== null) return
    this.#movedAt = this.#parts.clock.now()
    const { reader } = this.#state
    if (typeof frame === 'string' && frame.length > mostText) this.break('a text message is longer than 1 MiB')
    else if (reader === 'joined') this.#tell(frame)
    else this.#hold(frame)
  }

  /** A late reader gets what was sent before it came. */
  #catchUp(): void {
    for (let frame = this.#parts.waiting.shift(); frame !== undefined; frame = this.#parts.waiting.shift()) {
      this.#tell(frame)
    }
    if (this.#state.writer === 'done') this.#finish()
  }

  /** Nobody reads yet, or a function does at its own pace. */
  #hold(frame: Frame): void {
    if (this.#state.reader === 'absent') this.#parts.waiting.add(frame)
    else if (typeof frame !== 'string' && frame.byteLength > 0) {
      this.#inHand.push(frame)
      this.#inHandBytes += frame.byteLength
    }
    const isTooMuch = this.#parts.waiting.bytes + this.#inHandBytes > mostWaiting
    if (isTooMuch) this.break(`more than ${mostWaiting / 1_048_576} MiB wait for the reader`)
    else this.#wake()
  }

  /** The socket at an end is gone. */
  left(end: End, code: number): void {
    if (this.#isOver || this.#state.broken !== null) return
    // A close without a code is a proper one, too; without a close (1006) it broke off.
    const isDone = code === 1000 || code === 1005
    if (end === 'read') this.break('the reader went away')
    else if (isDone) this.#writerDone()
    else this.break('the writer broke off')
  }

  /** What the writer sends, sealed, once the first of it is there. Text messages are none of a file's content and are left out. */
  async take(signal: AbortSignal): Promise<ReadableStream> {
    this.assertFree('read')
    this.#become({ reader: 'taken' })
    const onGone = () => this.break('the function that read it was given up')
    signal.addEventListener('abort', onGone)
    try {
      while (this.#isQuiet()) await this.#changed.promise
    } finally {
      signal.removeEventListener('abort', onGone)
    }
    this.#assertWhole()
    const { readable, writable } = new IdentityTransformStream()
    this.#parts.background(this.#pour(writable.getWriter()))
    return readable
  }

  /** Called when the alarm goes off. */
  tick(): void {
    const now = this.#parts.clock.now()
    const { broken, createdAt, reader } = this.#state
    const isUnjoined = this.#isMissingOne() && now >= createdAt + unjoinedMs
    if (broken !== null) this.#over()
    else if (now >= createdAt + oldestMs) this.break('it is older than a day')
    else if (isUnjoined) this.break('an end was missing for 5 minutes')
    else if (reader === 'taken' && now >= this.#movedAt + unjoinedMs) this.break('nothing came for 5 minutes')
    else this.#setAlarm()
  }

  #writerDone(): void {
    this.#become({ writer: 'done' })
    if (this.#state.reader === 'joined') this.#finish()
    this.#wake()
  }

  /** Ends it badly. */
  break(why: string, code: 'S218' | 'S219' = 'S218'): void {
    if (this.#isOver || this.#state.broken !== null) return
    this.#become({ broken: why })
    const reason = `${code}: ${why}`
    const fault = new Fault(code, code === 'S218' ? `channel aborted: ${why}` : why)
    const reader = this.#parts.socket('read')
    quietly(() => reader?.send(handlerError(fault).message))
    quietly(() => reader?.close(codes.broken, reason))
    quietly(() => this.#parts.socket('write')?.close(codes.broken, reason))
    this.#end.abort()
    this.#wake()
  }

  /** A file goes to the reader. */
  async #feed(source: FileSource): Promise<void> {
    try {
      const { body, length } = await this.#parts.read(source, this.#end.signal)
      if ((length ?? 0) > mostTold) return this.break(tooMuch, 'S219')
      let left = length ?? 0
      for await (const piece of pieces(body)) {
        if (this.#state.broken !== null) return
        left -= piece.byteLength
        this.#tell(piece)
      }
      // A body that breaks off ends as if it were whole.
      if (length !== undefined && left !== 0) throw new AppError('guest_disconnected', 'the file broke off')
      this.#finish()
    } catch (thrown) {
      this.break(AppError.from(thrown, 'the file cannot be read').message)
    }
  }

  /** What the writer sends goes into the stream, at the pace of whoever reads that. */
  async #pour(stream: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
    stream.closed.catch(() => this.break(refusedBySandbox))
    try {
      for (;;) {
        this.#assertWhole()
        const bytes = this.#nextBytes()
        if (bytes !== undefined) await stream.write(sealedPiece(bytes))
        else if (this.#state.writer === 'done') break
        else await this.#changed.promise
      }
      await stream.write(seal())
      await stream.close()
      this.#over()
    } catch {
      this.break(refusedBySandbox)
      // Without its seal, which is what counts.
      await stream.close().catch(() => undefined)
    }
  }

  #nextBytes(): Uint8Array | undefined {
    for (let frame = this.#parts.waiting.shift(); frame !== undefined; frame = this.#parts.waiting.shift()) {
      if (typeof frame !== 'string' && frame.byteLength > 0) return frame
    }
    const bytes = this.#inHand.shift()
    this.#inHandBytes -= bytes?.byteLength ?? 0
    return bytes
  }

  #tell(frame: Frame): void {
    this.#told += frame.length
    if (this.#told > mostTold) this.break(tooMuch, 'S219')
    if (this.#state.broken !== null) return
    const socket = this.#parts.socket('read')
    try {
      for (const piece of piecesOf(frame, frameBytes)) socket?.send(piece)
    } catch {
      this.break('the reader went away')
    }
  }

  #finish(): void {
    quietly(() => this.#parts.socket('read')?.close(codes.done, 'stream_complete'))
    this.#over()
  }

  #over(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#end.abort()
    this.#parts.forget()
  }

  #become(change: Partial<ChannelState>): void {
    this.#state = { ...this.#state, ...change }
    this.#parts.put(this.#state)
    this.#setAlarm()
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  /** Nothing is there yet that a function could take. */
  #isQuiet(): boolean {
    const { broken, writer } = this.#state
    return broken === null && writer !== 'done' && this.#inHand.length === 0 && this.#parts.waiting.bytes === 0
  }

  #assertWhole(): void {
    const { broken } = this.#state
    if (broken !== null) throw new AppError('cancelled', `cannot read the channel: ${broken}`)
  }

  /** Whether something has begun that lives in memory alone. */
  #isBegun(): boolean {
    const { broken, reader, writer } = this.#state
    return broken === null && (writer === 'joined' || reader !== 'absent')
  }

  /** Whether the sandbox's side is at work. */
  #isAtWork(): boolean {
    const { broken, reader, source } = this.#state
    return broken === null && (reader === 'taken' || (reader === 'joined' && source !== null))
  }

  #isMissingOne(): boolean {
    const { reader, writer, source } = this.#state
    return reader === 'absent' || (writer === 'absent' && source === null)
  }

  #setAlarm(): void {
    const now = this.#parts.clock.now()
    const { broken, createdAt } = this.#state
    const soon = broken !== null ? now + rememberedMs : this.#isAtWork() ? now + lookMs : createdAt + oldestMs
    this.#parts.setAlarm(this.#isMissingOne() && broken === null ? Math.min(soon, createdAt + unjoinedMs) : soon)
  }
}

/** A socket that is closed already has nothing more to be told. */
function quietly(work: () => void): void {
  try {
    work()
  } catch {
    // It is gone.
  }
}
