/**
 * One tunnel stream as a Node stream, for Node's HTTP parser on either side. Back-pressure goes through in both directions: bytes are only read, and
 * so credited, when somebody asks for them, and a write is done when the carrier has taken it. It owns the tunnel stream: destroyed after all was
 * written it lets the other side end in its own time, destroyed before that or with an error it resets.
 */

import { Duplex } from 'node:stream'
import { AppError, type WireError } from '@portico/shared/errors'
import type { TunnelStream } from '@portico/shared/tunnel'

export class StreamDuplex extends Duplex {
  readonly #stream: TunnelStream
  readonly #translate: (error: AppError) => AppError
  #reading = false

  /** `translate` turns the error with which the other side or the connection ended the stream into the one that is told here. */
  constructor(stream: TunnelStream, translate: (error: AppError) => AppError = (error) => error) {
    super({ allowHalfOpen: true })
    this.#stream = stream
    this.#translate = translate
  }

  override _read(): void {
    if (this.#reading) return
    this.#reading = true
    void this.#pump()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#send(chunk, done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!error && this.writableFinished) void this.#discard()
    else this.#stream.reset(reasonFor(error))
    done(error)
  }

  /** A RESET would take from the peer what it has not read yet; so what it still sends is read and dropped, up to a limit. */
  async #discard(): Promise<void> {
    try {
      for (let left = maxDiscarded; left > 0; ) {
        const bytes = await this.#stream.read()
        if (bytes === undefined) return
        left -= bytes.length
      }
      this.#stream.reset(reasonFor(null))
    } catch {
      // It is over.
    }
  }

  #send(bytes: Uint8Array, done: (error?: Error | null) => void): void {
    this.#stream.write(bytes).then(
      () => done(),
      (error: unknown) => done(this.#translate(AppError.from(error))),
    )
  }

  async #pump(): Promise<void> {
    try {
      for (;;) {
        const bytes = await this.#stream.read()
        if (this.destroyed) return bytes && this.writableFinished ? void this.#discard() : undefined
        if (!this.push(bytes === undefined ? null : asBuffer(bytes)) || bytes === undefined) break
      }
      this.#reading = false
    } catch (error) {
      this.destroy(this.#translate(AppError.from(error)))
    }
  }
}

const maxDiscarded = 64 * 1024

function reasonFor(error: Error | null): WireError {
  if (error instanceof AppError) return error.toWire()
  return { code: 'cancelled', message: 'cannot go on with the stream: its reader went away' }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
