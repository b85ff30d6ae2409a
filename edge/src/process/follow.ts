/**
 * A process's output on its way to one caller, translated as it comes. One piece is under way at a time: the next one is read from the guest once the caller
 * has taken the last, so a slow caller is felt at the other end and nothing gathers here.
 *
 *   following ──its end, or what was asked for──▶ told
 *       ├── broken off, nonsense ──▶ failed: the caller is told why
 *       └── caller gone ──▶ gone: the guest's answer is cancelled
 */

import type { ProcessEnding } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { OutputDecoder, type OutputRecord } from '@portico/shared/process-records'
import type { KeyCall } from '../call.ts'
import { inBackground } from '../durable/background.ts'
import { whyBroken } from '../guest/why-broken.ts'
import { readEnding } from './ending.ts'
import type { Translation } from './translation.ts'

export interface Following {
  readonly sandbox: string
  readonly translation: Translation
  /** Told before the output. */
  readonly first?: Uint8Array
  /** The answer ends with the output up to here, whether or not the process runs on. */
  readonly until?: number
  /** What is followed has no end of its own: the answer's end is the end, and a process's is told and followed by what comes after it. */
  readonly outlives?: boolean
  /** It is over: how the process ended, or why it was not seen to. Not called where `until` came first. */
  readonly over?: (how: ProcessEnding | AppError) => void
}

const pieceLength = 65_536

/** The answer to a caller who follows a process. `output` is the agent's, with records as its body. */
export function followed(call: KeyCall, output: Response, following: Following): Response {
  const { readable, writable } = new IdentityTransformStream()
  const work = new Follower(call, output, writable, following).run()
  inBackground('follow a process', work)
  return new Response(readable, { headers: outputHeaders(following.translation.contentType) })
}

/** What every answer with output says of itself: it is a guest's, comes as it goes, and is kept nowhere. */
export function outputHeaders(contentType: string): Record<string, string> {
  return { 'content-type': contentType, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }
}

class Follower {
  readonly #call: KeyCall
  readonly #following: Following
  readonly #reader: ReadableStreamBYOBReader
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>
  readonly #decoder = new OutputDecoder()
  #ending: ProcessEnding | undefined
  #isWhole = false
  #isGone = false

  constructor(call: KeyCall, output: Response, writable: WritableStream<Uint8Array>, following: Following) {
    this.#call = call
    this.#following = following
    const body = output.body ?? new Blob([]).stream()
    this.#reader = body.getReader({ mode: 'byob' })
    this.#writer = writable.getWriter()
    this.#writer.closed.catch(this.#onGone)
    call.request.signal.addEventListener('abort', this.#onGone)
  }

  async run(): Promise<void> {
    const { over, first } = this.#following
    try {
      if (first !== undefined) await this.#tell(first)
      await this.#pass()
      if (!this.#isWhole) throw await this.#whyBroken()
      await this.#writer.close()
      if (this.#ending !== undefined) over?.(this.#ending)
    } catch (thrown) {
      const why = this.#isGone ? gone() : await this.#fail(thrown)
      over?.(why)
    } finally {
      this.#call.request.signal.removeEventListener('abort', this.#onGone)
      await this.#reader.cancel().catch(() => undefined)
    }
  }

  readonly #onGone = (): void => {
    this.#isGone = true
    void this.#reader.cancel().catch(() => undefined)
    void this.#writer.abort(gone()).catch(() => undefined)
  }

  async #pass(): Promise<void> {
    let buffer = new Uint8Array(pieceLength)
    while (!this.#isWhole) {
      const { done, value } = await this.#read(buffer)
      if (done) {
        this.#isWhole = this.#following.outlives === true
        return
      }
      const wanted = this.#wanted(this.#decoder.push(value))
      const bytes = this.#following.translation.translate(wanted)
      if (bytes.length > 0) await this.#tell(bytes)
      buffer = new Uint8Array(value.buffer)
    }
  }

  async #read(buffer: Uint8Array<ArrayBuffer>): Promise<ReadableStreamReadResult<Uint8Array<ArrayBuffer>>> {
    try {
      return await this.#reader.read(buffer)
    } catch (cause) {
      throw await this.#whyBroken(cause)
    }
  }

  async #tell(bytes: Uint8Array): Promise<void> {
    try {
      await this.#writer.write(bytes)
    } catch (thrown) {
      this.#onGone()
      throw thrown
    }
  }

  /** The records up to the last one that is asked for. */
  #wanted(records: readonly OutputRecord[]): readonly OutputRecord[] {
    const { until = Number.POSITIVE_INFINITY, outlives = false } = this.#following
    if (outlives) return records
    for (const [index, record] of records.entries()) {
      if (record.kind === 'end') this.#ending = readEnding(record.json)
      this.#isWhole = record.kind === 'end' || behind(record) >= until
      if (this.#isWhole) return records.slice(0, index + 1)
    }
    return records
  }

  /** Tells the caller, who is still there. */
  async #fail(thrown: unknown): Promise<AppError> {
    const error = AppError.from(thrown)
    const told = this.#following.translation.failure(error)
    try {
      if (told === undefined) await this.#writer.abort(error)
      else {
        await this.#writer.write(told)
        await this.#writer.close()
      }
    } catch {
      return gone()
    }
    return error
  }

  /** What its record says about a sandbox whose answer broke off; where it says nothing, its connection did. */
  async #whyBroken(cause?: unknown): Promise<AppError> {
    if (this.#isGone) return gone()
    return await whyBroken(this.#call, this.#following.sandbox, 'follow the process', cause)
  }
}

/** The offset behind a record. */
function behind(record: OutputRecord): number {
  return record.offset + ('bytes' in record ? record.bytes.length : 0)
}

function gone(): AppError {
  return new AppError('cancelled', 'cannot follow the process: the caller went away')
}
