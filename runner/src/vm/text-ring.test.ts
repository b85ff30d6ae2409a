import fc from 'fast-check'
import { expect, it } from 'vitest'
import { lastLines, TextRing } from './text-ring.ts'

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

it('finds the last lines that say something, without control characters', () => {
  expect(lastLines('one\r\n\x1b[31mtwo\x1b[0m\x07\r\n  \r\n', 100)).toBe('one | two')
  expect(lastLines('', 100)).toBeUndefined()
  expect(lastLines('\n \x00\n', 100)).toBeUndefined()
})

it('keeps as many whole lines as fit, and always the last one, cut if it is too long', () => {
  expect(lastLines('first\nsecond\nthird', 18)).toBe('second | third')
  expect(lastLines(`first\n${'x'.repeat(500)}`, 18)).toBe(`${'x'.repeat(200)}…`)
})
