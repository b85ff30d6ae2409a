/** The last bytes of a text that may go on for ever. It never holds more than twice its size. */

import { stripVTControlCharacters } from 'node:util'

export class TextRing {
  #chunks: Uint8Array[] = []
  #size = 0
  readonly #limit: number

  constructor(limit: number) {
    this.#limit = limit
  }

  push(bytes: Uint8Array): void {
    const kept = bytes.length > this.#limit ? bytes.subarray(bytes.length - this.#limit) : bytes
    this.#chunks.push(Uint8Array.from(kept))
    this.#size += kept.length
    if (this.#size > 2 * this.#limit || this.#chunks.length > maxChunks) this.#compact()
  }

  /** The last bytes as text; invalid ones are replaced. */
  text(): string {
    this.#compact()
    return Buffer.concat(this.#chunks).toString('utf8')
  }

  #compact(): void {
    const all = Buffer.concat(this.#chunks)
    const kept = all.subarray(Math.max(0, all.length - this.#limit))
    this.#chunks = kept.length > 0 ? [kept] : []
    this.#size = kept.length
  }
}

const maxChunks = 256

/** The last lines that say something, on one line and fit to be shown: no control characters, at most so many characters. */
export function lastLines(text: string, limit: number): string | undefined {
  const lines = text.split(/[\r\n]+/).map((line) =>
    stripVTControlCharacters(line)
      .replaceAll(/\p{Cc}/gu, '')
      .trim(),
  )
  const kept: string[] = []
  let length = 0
  for (const line of lines.filter((line) => line !== '').reverse()) {
    const shown = line.length > maxLine ? `${line.slice(0, maxLine)}…` : line
    length += shown.length + separator.length
    if (kept.length > 0 && length > limit) break
    kept.unshift(shown)
  }
  return kept.length > 0 ? kept.join(separator) : undefined
}

const separator = ' | '
const maxLine = 200
