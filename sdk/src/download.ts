/**
 * A file as it arrives. A connection that breaks is made again and the reading goes on where it stood, as long as the file is the same one: its `ETag`, or
 * the time of its change, says so. Where neither is told, the first break is the end.
 */

import { ConflictError } from './errors.ts'
import { idleMs } from './limits.ts'
import { Reattachment } from './reattachment.ts'
import type { Call, Opened, Transport } from './transport.ts'

/** @internal The bytes of a file from an offset on. */
export async function download(
  transport: Transport,
  call: Call,
  from: number,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const reading = new Download(transport, call, from)
  await reading.open()
  return reading.stream()
}

class Download {
  readonly #transport: Transport
  readonly #call: Call
  readonly #attached: Reattachment
  /** The offset of the next byte. */
  #at: number
  /** What of the answer stands before it. */
  #skip = 0
  /** Names the file's content, once the first answer has told it. */
  #version: string | undefined
  #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined

  constructor(transport: Transport, call: Call, from: number) {
    this.#transport = transport
    this.#call = call
    this.#at = from
    this.#attached = new Reattachment(transport.clock, idleMs / 1000)
  }

  async open(): Promise<void> {
    const isFirst = this.#reader === undefined
    const headers: Record<string, string> = {}
    if (this.#at > 0) headers.range = `bytes=${this.#at}-`
    if (this.#at > 0 && this.#version !== undefined) headers['if-range'] = this.#version
    const answer = await this.#transport.open({ ...this.#call, headers })
    this.#reader = answer.body.getReader()
    const version = versionOf(answer)
    // Not everybody on the way heeds If-Range.
    if (!isFirst && version !== this.#version) {
      await this.#reader.cancel().catch(() => undefined)
      throw changed(this.#call.doing)
    }
    this.#version = version
    // A file that tells no size comes whole.
    this.#skip = answer.status === 206 ? 0 : this.#at
  }

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return new ReadableStream(
      {
        pull: async (controller) => {
          const bytes = await this.#next()
          if (bytes === undefined) controller.close()
          else controller.enqueue(bytes)
        },
        cancel: async (why) => await this.#reader?.cancel(why),
      },
      { highWaterMark: 0 },
    )
  }

  /** The bytes that come next; undefined at the end. */
  async #next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    let isOpen = true
    for (;;) {
      try {
        if (!isOpen) await this.open()
        isOpen = true
        const bytes = await this.#read()
        this.#attached.heard()
        return bytes
      } catch (error) {
        if (this.#version === undefined) throw error
        await this.#attached.again(error, this.#call.signal)
        isOpen = false
      }
    }
  }

  async #read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    for (;;) {
      const chunk = await this.#reader?.read()
      if (chunk === undefined || chunk.done) return undefined
      const bytes = chunk.value.subarray(Math.min(this.#skip, chunk.value.length))
      this.#skip -= chunk.value.length - bytes.length
      if (bytes.length === 0) continue
      this.#at += bytes.length
      return bytes
    }
  }
}

/** What `If-Range` takes: a strong ETag, or the time of the change. */
function versionOf({ headers }: Opened): string | undefined {
  const etag = headers.get('etag')
  if (etag !== null && !etag.startsWith('W/')) return etag
  return headers.get('last-modified') ?? undefined
}

function changed(doing: string): ConflictError {
  const message = `cannot ${doing}: it has changed meanwhile`
  const hint = 'Read it again from its beginning.'
  return new ConflictError({ code: 'conflict', message, status: 0, retryable: false, hint })
}
