/**
 * Bytes of QEMU's control socket to messages: one JSON object a line, in whatever chunks they arrive. A process that a guest has broken out into
 * may write here, so a line has a maximum that is checked before it is kept, and what is not a JSON object is an error.
 */

import { AppError } from '@portico/shared/errors'

/** The longest answer that is asked for (`query-…`) stays far below. */
export const maxQmpLine = 1024 * 1024

const lineFeed = 0x0a

export class QmpLines {
  #parts: Uint8Array[] = []
  #size = 0
  readonly #limit: number

  constructor(limit = maxQmpLine) {
    this.#limit = limit
  }

  /** The messages that these bytes complete. Throws at the first line that is none; the connection is of no use after that. */
  push(bytes: Uint8Array): Record<string, unknown>[] {
    const messages: Record<string, unknown>[] = []
    let from = 0
    for (let at = bytes.indexOf(lineFeed); at >= 0; at = bytes.indexOf(lineFeed, from)) {
      this.#keep(bytes.subarray(from, at))
      from = at + 1
      const text = this.#take().trim()
      if (text !== '') messages.push(parse(text))
    }
    this.#keep(bytes.subarray(from))
    return messages
  }

  #keep(bytes: Uint8Array): void {
    if (this.#size + bytes.length > this.#limit) throw broken('a line is too long')
    if (bytes.length === 0) return
    this.#size += bytes.length
    this.#parts.push(bytes)
  }

  #take(): string {
    const text = Buffer.concat(this.#parts, this.#size).toString('utf8')
    this.#parts = []
    this.#size = 0
    return text
  }
}

/** The error for anything on this socket that does not follow the protocol. */
export function broken(why: string, cause?: unknown): AppError {
  return new AppError('internal', `cannot control the virtual machine: ${why}`, { cause })
}

function parse(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw broken('a line is not JSON', cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw broken('a line is not an object')
  return value as Record<string, unknown>
}
