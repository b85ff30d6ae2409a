/** UTF-8 that comes in pieces, as text: a character that is cut waits for its rest, bytes that are none become U+FFFD. */

const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true })
const nothing = new Uint8Array(0)

export class Utf8Pieces {
  #waiting: Uint8Array = nothing

  /** The text that is whole with these bytes. */
  push(bytes: Uint8Array): string {
    const all = this.#waiting.length === 0 ? bytes : joined(this.#waiting, bytes)
    const whole = all.length - cutBytes(all)
    this.#waiting = whole === all.length ? nothing : all.slice(whole)
    return decoder.decode(all.subarray(0, whole))
  }

  /** How many bytes wait for the rest of their character. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Nothing follows the last piece: what waits is told as it is. */
  flush(): string {
    const text = decoder.decode(this.#waiting)
    this.#waiting = nothing
    return text
  }
}

/** How many bytes at the end are the beginning of a character, as far as one can tell: 0 to 3. */
function cutBytes(bytes: Uint8Array): number {
  const { length } = bytes
  for (let back = 1; back <= Math.min(3, length); back++) {
    const byte = bytes[length - back] as number
    if ((byte & 0xc0) === 0x80) continue
    return lengthOf(byte) > back && (back === 1 || mayFollow(byte, bytes[length - back + 1] as number)) ? back : 0
  }
  return 0
}

/** Of the character that a byte begins; 1 for what begins none. */
function lengthOf(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2
  if (lead >= 0xe0 && lead <= 0xef) return 3
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 1
}

/** Some second bytes would spell what UTF-8 does not have: longer forms than need be, surrogates, numbers beyond the last. */
function mayFollow(lead: number, second: number): boolean {
  if (lead === 0xe0) return second >= 0xa0
  if (lead === 0xed) return second < 0xa0
  if (lead === 0xf0) return second >= 0x90
  return lead !== 0xf4 || second < 0x90
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length)
  all.set(first)
  all.set(second, first.length)
  return all
}
