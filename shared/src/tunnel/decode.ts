/**
 * Bytes to frames, in any chunking. A header is judged before anything is allocated for its payload; a payload that arrives whole is handed
 * on as a view of its chunk, one that arrives in pieces is gathered once. After an error the decoder is dead.
 *
 *   header ──judged──▶ payload ──whole──▶ header …        skipped extension: payload is counted, not kept
 */

import { AppError } from '../errors.ts'
import { readU32 } from './encode.ts'
import { type Frame, firstExtension, frameType } from './frame.ts'
import { headerLength, highestStreamId, maxCredit, maxMessage, maxPayload, minPayload } from './limits.ts'

/** Which rule a peer broke; the same names stand in `vectors/frames.json`. */
export type FrameFault =
  | 'unknown_type'
  | 'too_long'
  | 'wrong_stream'
  | 'wrong_shape'
  | 'cut_message'
  | 'message_too_long'

/** A connection error found in the bytes themselves. */
export class FrameError extends AppError {
  readonly fault: FrameFault

  constructor(fault: FrameFault, message: string) {
    super('protocol_error', message)
    this.fault = fault
  }
}

/** Takes a frame. The payload is valid for as long as the chunk it came in. */
export type FrameSink = (type: number, stream: number, payload: Uint8Array) => void

const nothing = new Uint8Array(0)

export class Decoder {
  readonly #sink: FrameSink
  readonly #header = new Uint8Array(headerLength)
  #headerHas = 0
  #type = 0
  #stream = 0
  /** The payload being gathered; undefined while it is skipped or between frames. */
  #payload: Uint8Array | undefined
  #payloadHas = 0
  /** Bytes of the payload that are still to come. */
  #missing = 0
  #dead: FrameError | undefined

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** Whether the bytes so far end where a frame ends. */
  get atBoundary(): boolean {
    return this.#headerHas === 0 && this.#missing === 0
  }

  /** Takes the next bytes of a stream. Throws FrameError where a frame breaks a rule; what the sink throws passes through. */
  push(chunk: Uint8Array): void {
    if (this.#dead) throw this.#dead
    let at = 0
    const { length } = chunk
    while (at < length) {
      if (this.#missing > 0) {
        at = this.#gather(chunk, at)
        continue
      }
      if (this.#headerHas === 0 && length - at >= headerLength) {
        this.#judge(chunk, at)
        at += headerLength
      } else {
        at = this.#gatherHeader(chunk, at)
        if (this.#headerHas > 0) return
      }
      at = this.#payloadFrom(chunk, at)
    }
  }

  /** Takes one message of a carrier of messages: whole frames, at most 1 MiB. */
  pushMessage(message: Uint8Array): void {
    if (message.length > maxMessage)
      throw this.#fault('message_too_long', `a message of ${message.length} bytes is over ${maxMessage}`)
    if (message.length > 0) this.push(message)
    if (message.length === 0 || !this.atBoundary) throw this.#fault('cut_message', 'a message ends inside a frame')
  }

  #gatherHeader(chunk: Uint8Array, at: number): number {
    const end = Math.min(chunk.length, at + headerLength - this.#headerHas)
    for (let from = at; from < end; from++) this.#header[this.#headerHas++] = chunk[from] as number
    if (this.#headerHas === headerLength) {
      this.#headerHas = 0
      this.#judge(this.#header, 0)
    }
    return end
  }

  /** Refuses a header that breaks a rule, and takes up the frame it announces. */
  #judge(bytes: Uint8Array, at: number): void {
    const type = bytes[at] as number
    const length = ((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
    const stream = readU32(bytes, at + 4)
    const most = maxPayload(type)
    if (most === undefined) throw this.#fault('unknown_type', `the frame type ${type} is unknown`)
    if (length > most) throw this.#fault('too_long', `a frame of type ${type} announces ${length} bytes, over ${most}`)
    if (type < firstExtension) {
      const ofConnection = type === frameType.hello || type >= frameType.ping
      if (ofConnection ? stream !== 0 : stream === 0 || stream > highestStreamId)
        throw this.#fault('wrong_stream', `a frame of type ${type} has the stream id ${stream}`)
      if (length < minPayload(type))
        throw this.#fault('wrong_shape', `a frame of type ${type} announces ${length} bytes`)
    }
    this.#type = type
    this.#stream = stream
    this.#missing = length
  }

  /** After a header: hands on the payload if the chunk holds it, else begins to gather or to skip. */
  #payloadFrom(chunk: Uint8Array, at: number): number {
    const length = this.#missing
    const end = at + length
    if (end <= chunk.length) {
      this.#missing = 0
      if (this.#type < firstExtension) this.#deliver(length === 0 ? nothing : chunk.subarray(at, end))
      return end
    }
    this.#payloadHas = 0
    this.#payload = this.#type < firstExtension ? new Uint8Array(length) : undefined
    return at
  }

  #gather(chunk: Uint8Array, at: number): number {
    const take = Math.min(this.#missing, chunk.length - at)
    const payload = this.#payload
    payload?.set(chunk.subarray(at, at + take), this.#payloadHas)
    this.#payloadHas += take
    this.#missing -= take
    if (this.#missing === 0 && payload) {
      this.#payload = undefined
      this.#deliver(payload)
    }
    return at + take
  }

  #deliver(payload: Uint8Array): void {
    if (this.#type === frameType.credit) {
      const amount = readU32(payload, 0)
      if (amount === 0 || amount > maxCredit) throw this.#fault('wrong_shape', `credit of ${amount} bytes`)
    }
    this.#sink(this.#type, this.#stream, payload)
  }

  #fault(fault: FrameFault, why: string): FrameError {
    this.#dead = new FrameError(fault, `cannot read the peer's frames: ${why}`)
    this.#payload = undefined
    return this.#dead
  }
}

/** All frames of some bytes that end at a frame's end. For tests and small tools. */
export function decode(bytes: Uint8Array): Frame[] {
  const frames: Frame[] = []
  const decoder = new Decoder((type, stream, payload) => frames.push({ type, stream, payload }))
  decoder.push(bytes)
  if (!decoder.atBoundary) throw new FrameError('cut_message', "cannot read the peer's frames: they end inside a frame")
  return frames
}
