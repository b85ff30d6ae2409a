/**
 * Frames on their way to the carrier, written one behind the other into messages of at most 1 MiB. What was taken is not written to again until it is
 * given back, so a carrier may keep it. Small messages share a block, so that a busy turn of tiny frames does not allocate for each; large blocks are
 * used again once all that was taken of them is given back, as allocating them costs more than filling them.
 */

import { writeHeader } from './encode.ts'
import { headerLength, maxMessage } from './limits.ts'

const blockLength = 16_384
/** Room for a window of the usual size with its headers. */
const largeLength = 262_144 + 16_384
/** Large blocks that wait for use, of all outboxes. */
const spare: Uint8Array<ArrayBuffer>[] = []
const mostSpare = 8

/** What of a large block is with a carrier. */
interface Lent {
  readonly buffer: Uint8Array<ArrayBuffer>
  messages: number
  /** The outbox writes elsewhere by now. */
  left: boolean
}

const lent = new WeakMap<ArrayBufferLike, Lent>()

/** A carrier is done with a message: what it stood in may be written to again. */
export function giveBack(message: Uint8Array): void {
  const block = lent.get(message.buffer)
  if (block === undefined) return
  block.messages--
  keepIfFree(block)
}

function keepIfFree(block: Lent): void {
  if (block.left && block.messages === 0 && spare.length < mostSpare) spare.push(block.buffer)
}

export class Outbox {
  #buffer = new Uint8Array(0)
  #start = 0
  #end = 0
  /** Messages that are complete. */
  #full: Uint8Array[] = []
  #fullLength = 0

  /** Bytes that wait to be taken. */
  get length(): number {
    return this.#fullLength + this.#end - this.#start
  }

  /** Bytes of the message that is being written. */
  get messageLength(): number {
    return this.#end - this.#start
  }

  /** Makes room for about so much, so that what follows is not copied as the message grows. */
  expect(length: number): void {
    const wanted = Math.min(length, maxMessage - this.messageLength)
    if (this.#end + wanted > this.#buffer.length) this.#grow(wanted)
  }

  /** Writes a whole frame. */
  frame(type: number, stream: number, payload: Uint8Array): void {
    this.into(this.header(type, payload.length, stream), payload)
  }

  /** Writes a header and keeps room for its payload; answers where the payload goes, which the caller must fill before anything else. */
  header(type: number, length: number, stream: number): number {
    const whole = headerLength + length
    if (this.messageLength + whole > maxMessage) this.#close()
    if (this.#end + whole > this.#buffer.length) this.#grow(whole)
    writeHeader(this.#buffer, this.#end, type, length, stream)
    const at = this.#end + headerLength
    this.#end += whole
    return at
  }

  /** Fills room that `header` kept. */
  into(at: number, bytes: Uint8Array): void {
    if (bytes.length > 0) this.#buffer.set(bytes, at)
  }

  /** The next message, or undefined if nothing waits. */
  take(): Uint8Array | undefined {
    if (this.#full.length === 0) this.#close()
    const message = this.#full.shift()
    this.#fullLength -= message?.length ?? 0
    return message
  }

  #close(): void {
    if (this.#end === this.#start) return
    this.#full.push(this.#buffer.subarray(this.#start, this.#end))
    const block = lent.get(this.#buffer.buffer)
    if (block) block.messages++
    this.#fullLength += this.#end - this.#start
    this.#start = this.#end
  }

  #grow(length: number): void {
    const written = this.#buffer.subarray(this.#start, this.#end)
    const need = written.length + length
    const former = lent.get(this.#buffer.buffer)
    if (former?.messages === 0 && need <= largeLength) this.#buffer.copyWithin(0, this.#start, this.#end)
    else {
      this.#buffer = blockFor(need, written.length)
      this.#buffer.set(written)
      if (former) {
        former.left = true
        keepIfFree(former)
      }
    }
    this.#end = written.length
    this.#start = 0
  }
}

function blockFor(need: number, written: number): Uint8Array<ArrayBuffer> {
  if (need * 4 <= blockLength) return new Uint8Array(blockLength)
  if (need > largeLength) return new Uint8Array(Math.max(need, Math.min(maxMessage, written * 2)))
  const buffer = spare.pop() ?? new Uint8Array(largeLength)
  lent.set(buffer.buffer, { buffer, messages: 0, left: false })
  return buffer
}
