import { expect, test } from 'vitest'
import { parseTraceparent } from './traceparent.ts'

const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
const span = '00f067aa0ba902b7'

test.each([`00-${trace}-${span}-01`, `00-${trace}-${span}-00`, `cc-${trace}-${span}-01-later`])(
  'is kept as it came: %s',
  (text) => expect(parseTraceparent(text)).toBe(text),
)

test.each([
  null,
  undefined,
  '',
  'nonsense',
  `00-${trace}-${span}`,
  `00-${trace}-${span}-01-more`,
  `00-${trace.toUpperCase()}-${span}-01`,
  `00-${'0'.repeat(32)}-${span}-01`,
  `00-${trace}-${'0'.repeat(16)}-01`,
  `ff-${trace}-${span}-01`,
  `00-${trace}-${span}-01\n`,
  `01-${trace}-${span}-01-${'x'.repeat(80)}`,
  `01-${trace}-${span}-01-a\nb`,
])('is ignored: %j', (text) => expect(parseTraceparent(text)).toBeUndefined())
