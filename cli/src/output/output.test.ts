import { describe, expect, it } from 'vitest'
import { format } from './failure.ts'
import { money } from './money.ts'
import { size } from './size.ts'
import { table } from './table.ts'
import { age, elapsed } from './time.ts'

describe('a table', () => {
  it('aligns its columns and ends no line with blanks', () => {
    expect(
      table(
        ['A', 'LONG'],
        [
          ['wide cell', 'x'],
          ['y', ''],
        ],
      ),
    ).toBe('A          LONG\nwide cell  x\ny\n')
  })
})

describe('a time', () => {
  it.each([
    [0, '0ms'],
    [85.4, '85ms'],
    [2000, '2s'],
    [2940, '2.9s'],
    [60_000, '1m'],
    [200_000, '3m 20s'],
    [7_500_000, '2h 5m'],
    [356_400_000, '4d 3h'],
  ])('of %d ms reads %s', (ms, text) => {
    expect(elapsed(ms)).toBe(text)
  })
})

describe('an age', () => {
  it('is in whole seconds, and a second at least', () => {
    expect(age(new Date(Date.now() + 5000))).toBe('1s')
    expect(age(new Date(Date.now() - 61_500))).toBe('1m 1s')
  })
})

describe('a size', () => {
  it.each([
    [0, '0 MiB'],
    [400_000, '0.4 MiB'],
    [2_500_000, '2.4 MiB'],
    [40_000_000, '38 MiB'],
    [1_073_741_824, '1 GiB'],
    [1_610_612_736, '1.5 GiB'],
    [107_374_182_400, '100 GiB'],
  ])('of %d bytes reads %s', (bytes, text) => {
    expect(size(bytes)).toBe(text)
  })
})

describe('an error’s lines', () => {
  it('are one for the error and one for the hint, without what a terminal would obey', () => {
    expect(format('cannot do it:\n  \u001b[2Jwhy', 'do this')).toBe(
      'portico: cannot do it: \ufffd[2Jwhy\nhint: do this\n',
    )
    expect(format('cannot do it')).toBe('portico: cannot do it\n')
  })
})

describe('a cost', () => {
  it.each([
    [0, '$0.00'],
    [0.00016, '$0.0000016'],
    [0.42, '$0.0042'],
    [7, '$0.070'],
    [120, '$1.20'],
    [123_456, '$1234.56'],
  ])('of %d cents reads %s', (cents, text) => {
    expect(money(cents)).toBe(text)
  })
})
