/**
 * A process's output as server-sent events. An event's id is the offset behind what was told so far: whoever comes back asks for it and misses
 * nothing, repeats nothing. Text is told character by character, so bytes of one that is cut count as not told yet; where both outputs break off in
 * the middle of one, coming back in between shows U+FFFD, which base64 never does.
 */

import type { AppError } from '@portico/shared/errors'
import type { OutputRecord } from '@portico/shared/process-records'
import { errorBodyOf } from '../middleware/answer.ts'
import { base64 } from './command.ts'
import { readEnding } from './ending.ts'
import type { Translation } from './translation.ts'
import { Utf8Pieces } from './utf8-pieces.ts'

export type Encoding = 'text' | 'base64'

const encoder = new TextEncoder()

/** One event, as bytes. */
export function encodeEvent(name: string, data: object): Uint8Array {
  return encoder.encode(event(name, data))
}

export class AsEvents implements Translation {
  readonly contentType = 'text/event-stream'
  readonly #encoding: Encoding
  readonly #requestId: string
  readonly #texts = { stdout: new Utf8Pieces(), stderr: new Utf8Pieces() }

  constructor(encoding: Encoding, requestId: string) {
    this.#encoding = encoding
    this.#requestId = requestId
  }

  translate(records: readonly OutputRecord[]): Uint8Array {
    let text = ''
    for (const record of records) text += this.#told(record)
    return encoder.encode(text)
  }

  failure(error: AppError): Uint8Array {
    return encodeEvent('error', errorBodyOf(error, this.#requestId))
  }

  #told(record: OutputRecord): string {
    const { offset } = record
    switch (record.kind) {
      case 'nothing':
        return event('heartbeat', {})
      case 'stdout':
      case 'stderr':
        return this.#output(record.kind, record.bytes, offset + record.bytes.length)
      case 'gap':
        return this.#flushed(offset - record.lost) + event('gap', { lost: record.lost }, offset)
      case 'end':
        return this.#flushed(offset) + event('exit', readEnding(record.json), offset)
      case 'mark':
        // A shell's, which has an adapter of its own.
        return ''
    }
  }

  #output(stream: 'stdout' | 'stderr', bytes: Uint8Array, behind: number): string {
    if (this.#encoding === 'base64') return event(stream, { data: base64(bytes) }, behind)
    const pieces = this.#texts[stream]
    const data = pieces.push(bytes)
    return data === '' ? '' : event(stream, { data }, behind - pieces.waiting)
  }

  /** Characters whose rest will not come. */
  #flushed(behind: number): string {
    let text = ''
    for (const stream of ['stdout', 'stderr'] as const) {
      const data = this.#texts[stream].flush()
      if (data !== '') text += event(stream, { data }, behind)
    }
    return text
  }
}

function event(name: string, data: object, id?: number): string {
  const line = id === undefined ? '' : `id: ${id}\n`
  return `event: ${name}\n${line}data: ${JSON.stringify(data)}\n\n`
}
