/**
 * A body of unknown length that says when it is whole. A stream between two objects whose writer is lost ends as if nothing were missing, and half a body
 * must not look like a whole one; so each piece has its length in front (four bytes), and a length of zero is the end.
 */

const prefix = 4

/** A piece as it goes over; an empty one would be the end. */
export function sealedPiece(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(prefix + bytes.byteLength)
  new DataView(out.buffer).setUint32(0, bytes.byteLength)
  out.set(bytes, prefix)
  return out
}

/** What stands behind the last piece. */
export function seal(): Uint8Array {
  return new Uint8Array(prefix)
}

/** The body's bytes, however they are cut. Throws where they end without the seal. */
export async function* unsealed(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const length = new Uint8Array(prefix)
  let known = 0
  let left = 0
  for await (const piece of pieces) {
    for (let at = 0; at < piece.byteLength; ) {
      if (left > 0) {
        const part = piece.subarray(at, at + left)
        left -= part.byteLength
        at += part.byteLength
        yield part
        continue
      }
      length[known++] = piece[at++] ?? 0
      if (known < prefix) continue
      known = 0
      left = new DataView(length.buffer).getUint32(0)
      if (left === 0) return
    }
  }
  throw new Error('the body broke off')
}
