import fc from 'fast-check'
import { expect, it } from 'vitest'
import { QmpLines } from './qmp-lines.ts'

const encoder = new TextEncoder()

/** The bytes in pieces of the given lengths, repeated as often as needed. */
function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const end = at + (lengths[turn % lengths.length] ?? 1)
    pieces.push(bytes.slice(at, end))
    at = end
  }
  return pieces
}

it('gives the same messages whatever the chunks', () => {
  const message = fc.dictionary(fc.string(), fc.jsonValue())
  const chunks = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 })
  fc.assert(
    fc.property(fc.array(message), chunks, fc.constantFrom('\n', '\r\n'), (messages, lengths, newline) => {
      const bytes = encoder.encode(messages.map((one) => JSON.stringify(one) + newline).join(''))
      const lines = new QmpLines()
      const read = cut(bytes, lengths).flatMap((piece) => lines.push(piece))
      expect(read).toEqual(messages.map((one) => JSON.parse(JSON.stringify(one))))
    }),
  )
})

it('answers random bytes with messages or an error, and never goes on after an error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      try {
        for (const message of new QmpLines(500).push(bytes)) expect(typeof message).toBe('object')
      } catch (error) {
        expect(error).toMatchObject({ code: 'internal', message: expect.stringContaining('cannot control') })
      }
    }),
  )
})

it('takes a line of the greatest length and refuses one byte more before its end has come', () => {
  const filler = (length: number) => encoder.encode(`{"a":"${'x'.repeat(length - 8)}"}`)
  expect(new QmpLines(100).push(Uint8Array.of(...filler(100), 10))).toHaveLength(1)
  expect(() => new QmpLines(100).push(filler(101))).toThrow('a line is too long')
})

it.each(['[1]', '"text"', 'null', '7', '{"a":'])('refuses a line that is no object: %s', (line) => {
  expect(() => new QmpLines().push(encoder.encode(`${line}\n`))).toThrow('cannot control the virtual machine')
})

it('skips empty lines', () => {
  expect(new QmpLines().push(encoder.encode('\r\n\n{"a":1}\n\n'))).toEqual([{ a: 1 }])
})
