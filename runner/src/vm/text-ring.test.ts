import fc from 'fast-check'
import { expect, it } from 'vitest'
import { lastLine, TextRing } from './text-ring.ts'

it('keeps the last bytes of any number of pieces', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (pieces) => {
      const ring = new TextRing(32)
      for (const piece of pieces) ring.push(piece)
      const all = Buffer.concat(pieces)
      expect(ring.text()).toBe(all.subarray(Math.max(0, all.length - 32)).toString('utf8'))
    }),
  )
})

it('does not hold on to a large chunk of which it keeps little', () => {
  const ring = new TextRing(4)
  const chunk = Buffer.from('0123456789')
  ring.push(chunk)
  chunk.fill(0)
  expect(ring.text()).toBe('6789')
})

it('finds the last line that says something, without control characters', () => {
  expect(lastLine('one\r\n\x1b[31mtwo\x1b[0m\x07\r\n  \r\n')).toBe('two')
  expect(lastLine('')).toBeUndefined()
  expect(lastLine('\n \x00\n')).toBeUndefined()
})

it('cuts a line that is too long', () => {
  expect(lastLine('x'.repeat(500))).toHaveLength(201)
})
