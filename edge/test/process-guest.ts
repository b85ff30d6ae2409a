/** The guest's side of a followed process in tests, and what a caller makes of server-sent events. */

import { encodeOutput, type OutputRecord } from '@portico/shared/process-records'
import { answer as accept, type TunnelStream } from '@portico/shared/tunnel'
import { someProcess } from './guest-scene.ts'

const encoder = new TextEncoder()

/** Begins an answer of records, as an agent does at once. */
export function tellsOutput(stream: TunnelStream): void {
  const headers = { 'Content-Type': 'application/octet-stream', 'Portico-Process': someProcess.id }
  accept(stream, { status: 200, headers })
}

export async function tell(stream: TunnelStream, ...records: readonly OutputRecord[]): Promise<void> {
  for (const record of records) await stream.write(encodeOutput(record))
}

export function stdout(offset: number, text: string): OutputRecord {
  return { kind: 'stdout', offset, bytes: encoder.encode(text) }
}

export function end(offset: number, exit_code = 0): OutputRecord {
  return { kind: 'end', offset, json: JSON.stringify({ exit_code, timed_out: false, duration_ms: 3 }) }
}

export interface SentEvent {
  readonly event: string
  readonly id?: string
  readonly data: Record<string, unknown>
}

/** Reads events one by one, as they come. */
export class EventReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  #text = ''

  constructor(response: Response) {
    this.#reader = (response.body as ReadableStream<Uint8Array>).getReader()
  }

  /** The next one; undefined at the end. */
  async next(): Promise<SentEvent | undefined> {
    for (;;) {
      const at = this.#text.indexOf('\n\n')
      if (at >= 0) {
        const block = this.#text.slice(0, at)
        this.#text = this.#text.slice(at + 2)
        return parse(block)
      }
      const { done, value } = await this.#reader.read()
      if (done) return undefined
      this.#text += this.#decoder.decode(value, { stream: true })
    }
  }

  /** All that are still to come. */
  async rest(): Promise<SentEvent[]> {
    const events: SentEvent[] = []
    for (let one = await this.next(); one !== undefined; one = await this.next()) events.push(one)
    return events
  }

  /** Goes away. */
  cancel(): Promise<void> {
    return this.#reader.cancel()
  }
}

function parse(block: string): SentEvent {
  const fields = new Map(block.split('\n').map((line) => line.split(/: (.*)/s) as [string, string]))
  const id = fields.get('id')
  return {
    event: fields.get('event') ?? '',
    ...(id === undefined ? {} : { id }),
    data: JSON.parse(fields.get('data') ?? '') as Record<string, unknown>,
  }
}
