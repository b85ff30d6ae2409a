/** Text out of bytes in any pieces is what the bytes as a whole are. */

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Utf8Pieces } from './utf8-pieces.ts'

const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true })

/** Characters of every length, and bytes that are none, so that pieces end in the middle of either. */
const chunk = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 6 }).map((text) => new TextEncoder().encode(text)),
  fc.uint8Array({ maxLength: 6 }),
  fc
    .constantFrom([0xef, 0xbb, 0xbf], [0xe2, 0x82], [0xf0, 0x9f, 0x98], [0xed, 0xa0], [0xf4, 0x90], [0xc0])
    .map(bytesOf),
)

function bytesOf(numbers: readonly number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(numbers)
}

test('any pieces make the text that all of them make together', () => {
  const property = fc.property(fc.array(chunk, { maxLength: 12 }), (chunks) => {
    const pieces = new Utf8Pieces()
    const text = chunks.map((bytes) => pieces.push(bytes)).join('') + pieces.flush()
    expect(text).toBe(decoder.decode(bytesOf(chunks.flatMap((bytes) => [...bytes]))))
  })
  fc.assert(property, { numRuns: 1000 })
})

test('what waits is told, so that an offset can stand before it', () => {
  const property = fc.property(fc.array(chunk, { maxLength: 8 }), (chunks) => {
    const pieces = new Utf8Pieces()
    const text = chunks.map((bytes) => pieces.push(bytes)).join('')
    const all = bytesOf(chunks.flatMap((bytes) => [...bytes]))
    expect(decoder.decode(all.subarray(0, all.length - pieces.waiting))).toBe(text)
    expect(pieces.waiting).toBeLessThan(4)
  })
  fc.assert(property, { numRuns: 500 })
})
