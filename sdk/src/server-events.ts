/** Server-sent events, put together from pieces of any size. */

import { makeError } from './errors.ts'

/** One event. */
export interface ServerEvent {
  /** `message` unless told. */
  readonly name: string
  readonly data: string
  /** Empty where none was told. */
  readonly id: string
}

/** What a line may hold before the stream is given up. */
const longestLine = 4 * 2 ** 20

export async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent, void> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  const events = new EventDecoder()
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read())
      yield* events.push(decoder.decode(piece.value, { stream: true }))
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

class EventDecoder {
  #rest = ''
  #name = ''
  #id = ''
  #data: string[] = []

  push(text: string): ServerEvent[] {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/)
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > longestLine) throw tooLong()
    return lines.flatMap((line) => this.#line(line))
  }

  #line(line: string): ServerEvent[] {
    if (line === '') return this.#end()
    const [, field = line, value = ''] = /^([^:]*): ?(.*)$/s.exec(line) ?? []
    if (field === 'event') this.#name = value
    else if (field === 'id') this.#id = value
    else if (field === 'data') this.#data.push(value)
    return []
  }

  #end(): ServerEvent[] {
    const event = { name: this.#name || 'message', data: this.#data.join('\n'), id: this.#id }
    const isEvent = this.#data.length > 0
    this.#name = ''
    this.#id = ''
    this.#data = []
    return isEvent ? [event] : []
  }
}

function tooLong() {
  const message = 'cannot read the events: a line of them does not end'
  return makeError({ code: 'protocol_error', message, status: 0, retryable: false })
}
