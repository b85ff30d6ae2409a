/**
 * The start of a session on a byte stream that cannot tell one session from the next: the agent sends a preamble (a mark and 8 random bytes),
 * the runner repeats the 8 bytes. Each side throws away what comes before the other's mark, up to a limit.
 *
 *   runner: searching ──preamble──▶ found (its first bytes are the echo)
 *   agent:  waiting ──echo──▶ found;   waiting ──a whole flush──▶ new preamble, waiting
 */

import { AppError } from '../errors.ts'
import { flushLength, maxDiscarded, nonceLength, restOfFlush } from './limits.ts'

/** `PRTC`, 0, 1, CR LF. Its first byte occurs in it once. */
export const preambleMark = Uint8Array.of(0x50, 0x52, 0x54, 0x43, 0x00, 0x01, 0x0d, 0x0a)
const preambleLength = preambleMark.length + nonceLength

/** What a runner sends when no preamble comes: no session in progress survives it, and an agent that waits sends a new preamble. */
export function flushBytes(): Uint8Array {
  return new Uint8Array(flushLength).fill(0xff)
}

/** 8 random bytes. */
export function newNonce(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(nonceLength))
}

/** What an agent sends before its HELLO. */
export function preamble(nonce: Uint8Array): Uint8Array {
  return concat(preambleMark, nonce)
}

/** The runner's side. Made anew for each session. */
export class PreambleFinder {
  #discarded = 0
  /** The end of what has come, where it may be the beginning of a preamble. */
  #kept = new Uint8Array(0)

  /** Takes what arrived. Answers with the bytes to echo and with those that follow the preamble, once it has come. */
  push(chunk: Uint8Array): { readonly nonce: Uint8Array; readonly rest: Uint8Array } | undefined {
    const bytes = concat(this.#kept, chunk)
    const at = lastMark(bytes)
    this.#discard(at)
    if (bytes.length - at < preambleLength) {
      this.#kept = bytes.slice(at)
      return undefined
    }
    const end = at + preambleLength
    return { nonce: bytes.slice(at + preambleMark.length, end), rest: bytes.subarray(end) }
  }

  #discard(count: number): void {
    this.#discarded += count
    if (this.#discarded > maxDiscarded) throw notFound('preamble')
  }
}

/** The agent's side, for peers in tests. */
export class EchoFinder {
  #nonce: Uint8Array
  #matched = 0
  #discarded = 0
  #run = 0
  readonly #onFlush: () => Uint8Array

  /** `onFlush` sends a new preamble and answers with its random bytes. */
  constructor(nonce: Uint8Array, onFlush: () => Uint8Array) {
    this.#nonce = nonce
    this.#onFlush = onFlush
  }

  /** Takes what arrived. Answers with the bytes that follow the echo, once it has come. */
  push(chunk: Uint8Array): Uint8Array | undefined {
    for (const [index, byte] of chunk.entries()) {
      this.#step(byte)
      if (this.#matched === nonceLength) return chunk.subarray(index + 1)
    }
    return undefined
  }

  #step(byte: number): void {
    const seen = this.#matched
    while (this.#matched > 0 && this.#nonce[this.#matched] !== byte)
      this.#matched = border(this.#nonce.subarray(0, this.#matched))
    if (this.#nonce[this.#matched] === byte) this.#matched++
    this.#discarded += seen + 1 - this.#matched
    if (this.#discarded > maxDiscarded) throw notFound('echo')
    this.#run = byte === 0xff ? this.#run + 1 : 0
    if (this.#run > restOfFlush && this.#matched < nonceLength) this.#restart()
  }

  #restart(): void {
    this.#run = 0
    this.#matched = 0
    this.#discarded = 0
    this.#nonce = this.#onFlush()
  }
}

/** Where the last mark stands, else where the bytes end with a beginning of one, else the end of the bytes. */
function lastMark(bytes: Uint8Array): number {
  const first = preambleMark[0] as number
  for (let at = bytes.lastIndexOf(first); at >= 0; at = at === 0 ? -1 : bytes.lastIndexOf(first, at - 1))
    if (startsWithMark(bytes, at, preambleMark.length)) return at
  for (let at = Math.max(0, bytes.length - preambleMark.length + 1); at < bytes.length; at++)
    if (startsWithMark(bytes, at, bytes.length - at)) return at
  return bytes.length
}

function startsWithMark(bytes: Uint8Array, at: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (bytes[at + index] !== preambleMark[index]) return false
  return true
}

/** How long the longest beginning of `bytes` is that is also their end, and not all of them. */
function border(bytes: Uint8Array): number {
  for (let length = bytes.length - 1; length > 0; length--) {
    const end = bytes.length - length
    if (bytes.subarray(0, length).every((byte, index) => byte === bytes[end + index])) return length
  }
  return 0
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(first.length + second.length)
  bytes.set(first)
  bytes.set(second, first.length)
  return bytes
}

function notFound(what: string): AppError {
  return new AppError('protocol_error', `cannot start the session: no ${what} within ${maxDiscarded} bytes`)
}
