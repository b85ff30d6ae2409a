/**
 * What one side of a stream has received: bytes that wait for the reader, and the credit to return. It holds `window` bytes at most;
 * small pieces are gathered, so that a peer that sends single bytes cannot make them cost more than their number.
 *
 *   open ──finish()──▶ finished (what waits can still be read)        open ──fail()──▶ failed (nothing can)
 */

import { AppError } from '../errors.ts'
import { rejected } from './send-side.ts'

interface Reader {
  readonly resolve: (bytes: Uint8Array | undefined) => void
  readonly reject: (error: AppError) => void
  readonly promise: Promise<Uint8Array | undefined>
}

/** A piece below this is gathered with its neighbours. */
const smallPiece = 2048
const blockLength = 4096

const ignore = () => undefined

export class ReceiveSide {
  readonly #window: number
  readonly #grant: (amount: number) => void
  #chunks: Uint8Array[] = []
  /** Room behind the last chunk, if that is a block of gathered pieces. */
  #room = 0
  #reader: Reader | undefined
  /** What the peer may still send. */
  #allowance: number
  /** What was consumed and is not granted again. */
  #owed = 0
  #finished = false
  #error: AppError | undefined

  /** `grant` sends credit. */
  constructor(window: number, grant: (amount: number) => void) {
    this.#window = window
    this.#allowance = window
    this.#grant = grant
  }

  get finished(): boolean {
    return this.#finished
  }

  /** Takes bytes from the peer. False if it sent more than was granted. */
  push(bytes: Uint8Array): boolean {
    this.#allowance -= bytes.length
    if (this.#allowance < 0) return false
    const reader = this.#reader
    if (reader) {
      this.#reader = undefined
      this.#consumed(bytes.length)
      reader.resolve(bytes)
    } else this.#keep(bytes)
    return true
  }

  /** The peer's END. */
  finish(): void {
    this.#finished = true
    this.#reader?.resolve(undefined)
    this.#reader = undefined
  }

  /** Drops what waits; the reader gets the error. */
  fail(error: AppError): void {
    this.#error = error
    this.#chunks = []
    this.#room = 0
    const reader = this.#reader
    this.#reader = undefined
    reader?.promise.catch(ignore)
    reader?.reject(error)
  }

  read(): Promise<Uint8Array | undefined> {
    if (this.#error) return rejected(this.#error)
    const chunk = this.#chunks.shift()
    if (chunk) {
      this.#consumed(chunk.length)
      return Promise.resolve(chunk)
    }
    if (this.#finished) return Promise.resolve(undefined)
    if (this.#reader) return rejected(new AppError('internal', 'cannot read: another reader waits on this stream'))
    this.#reader = Promise.withResolvers<Uint8Array | undefined>()
    return this.#reader.promise
  }

  #consumed(length: number): void {
    this.#owed += length
    if (this.#owed * 2 < this.#window || this.#finished) return
    const amount = this.#owed
    this.#owed = 0
    this.#allowance += amount
    this.#grant(amount)
  }

  /** Keeps bytes for the reader. A piece much smaller than the chunk it arrived in is copied out of it, so as not to hold the whole. */
  #keep(bytes: Uint8Array): void {
    if (bytes.length < smallPiece) this.#gather(bytes)
    else {
      this.#chunks.push(bytes.length * 4 < bytes.buffer.byteLength ? bytes.slice() : bytes)
      this.#room = 0
    }
  }

  #gather(bytes: Uint8Array): void {
    const last = this.#chunks.at(-1)
    if (last && bytes.length <= this.#room) {
      const grown = new Uint8Array(last.buffer, last.byteOffset, last.length + bytes.length)
      grown.set(bytes, last.length)
      this.#chunks[this.#chunks.length - 1] = grown
      this.#room -= bytes.length
      return
    }
    // A first small piece is kept alone; a block pays only once pieces pile up.
    const size = this.#chunks.length === 0 ? bytes.length : Math.max(blockLength, bytes.length)
    const block = new Uint8Array(size)
    block.set(bytes)
    this.#chunks.push(block.subarray(0, bytes.length))
    this.#room = size - bytes.length
  }
}
