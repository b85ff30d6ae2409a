/**
 * What a process reads. Each byte has an offset under which the sandbox takes it once, however often it is sent; so a piece whose answer was lost is sent again.
 * Pieces go one after the other, each as soon as the process has taken the one before.
 */

import { processRecord, stdinResponse } from '@portico/shared/api'
import { UnavailableError } from './errors.ts'
import { pieceBytes, pieceMs, shortMs } from './limits.ts'
import { Reattachment } from './reattachment.ts'
import type { Transport } from './transport.ts'

/** What can be written to a process. */
export type ProcessInput = string | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<string | Uint8Array>

/** @internal */
export class InputWriter {
  readonly #transport: Transport
  readonly #path: string
  readonly #silenceSec: number
  #at: number
  /** The last write, which the next one waits for. */
  #before: Promise<unknown> = Promise.resolve()

  constructor(transport: Transport, processPath: string, at: number, silenceSec: number) {
    this.#transport = transport
    this.#path = processPath
    this.#at = at
    this.#silenceSec = silenceSec
  }

  /** Resolves once the sandbox has all of it. */
  write(input: ProcessInput, signal: AbortSignal | undefined): Promise<void> {
    return this.#next(async () => {
      for await (const piece of pieces(input)) await this.#send(piece, false, signal)
    })
  }

  close(signal: AbortSignal | undefined): Promise<void> {
    return this.#next(() => this.#send(new Uint8Array(0), true, signal))
  }

  #next(act: () => Promise<void>): Promise<void> {
    const done = this.#before.then(act)
    this.#before = done.catch(() => undefined)
    return done
  }

  async #send(piece: Uint8Array<ArrayBuffer>, close: boolean, signal: AbortSignal | undefined): Promise<void> {
    const end = this.#at + piece.length
    const attached = new Reattachment(this.#transport.clock, this.#silenceSec)
    for (;;) {
      const rest = piece.subarray(piece.length - (end - this.#at))
      const path = `${this.#path}/stdin?at=${this.#at}${close ? '&close=true' : ''}`
      const call = {
        method: 'POST',
        path,
        doing: 'write to the process',
        limitMs: pieceMs,
        bytes: rest,
        signal,
      } as const
      try {
        const { stdin_end } = await this.#transport.json(call, stdinResponse)
        this.#at = Math.max(this.#at, Math.min(stdin_end, end))
        if (this.#at === end) return
        throw stopped()
      } catch (error) {
        await attached.again(error, signal)
        // A process that does not read is no lost one.
        await this.#look(signal).then(
          (taken) => {
            attached.heard()
            this.#at = Math.max(this.#at, Math.min(taken, end))
          },
          () => undefined,
        )
        if (this.#at === end && !close) return
      }
    }
  }

  /** How much the sandbox has taken. */
  async #look(signal: AbortSignal | undefined): Promise<number> {
    const call = { method: 'GET', path: this.#path, doing: 'look up the process', limitMs: shortMs } as const
    return (await this.#transport.json({ ...call, repeatable: true, signal }, processRecord)).stdin_end
  }
}

async function* pieces(input: ProcessInput): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  if (typeof input === 'string' || input instanceof Uint8Array) yield* cutUp(input)
  else for await (const part of input instanceof ReadableStream ? read(input) : input) yield* cutUp(part)
}

function* cutUp(part: string | Uint8Array): Generator<Uint8Array<ArrayBuffer>, void> {
  const bytes = new Uint8Array(typeof part === 'string' ? new TextEncoder().encode(part) : part)
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}

/** Not every browser's streams can be iterated. */
async function* read(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const reader = stream.getReader()
  let ended = false
  try {
    for (;;) {
      const chunk = await reader.read()
      if (chunk.done) {
        ended = true
        return
      }
      yield chunk.value
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => undefined)
    reader.releaseLock()
  }
}

function stopped(): UnavailableError {
  const message = 'cannot write to the process: not all of it was taken'
  return new UnavailableError({ code: 'guest_disconnected', message, status: 0, retryable: true })
}
