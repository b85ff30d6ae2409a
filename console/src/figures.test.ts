import { expect, test } from 'vitest'
import { bytes, cents, duration, percent } from './figures.ts'

test('bytes go to the unit in which they are short', () => {
  expect([0, 1023, 1024, 1536, 1_048_575, 104_857_600, 5_368_709_120].map(bytes)).toEqual([
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '1.0 MiB',
    '100 MiB',
    '5.0 GiB',
  ])
})

test('cents keep the digits of small amounts', () => {
  expect([0, 0.00123, 1.234, 1234].map(cents)).toEqual(['0 ¢', '0.0012 ¢', '1.23 ¢', '$12.34'])
})

test('durations have two units', () => {
  expect([-5, 59_999, 60_000, 7_500_000, 90_000_000].map(duration)).toEqual([
    '0 s',
    '59 s',
    '1 min 0 s',
    '2 h 5 min',
    '1 d 1 h',
  ])
})

test('small shares keep a digit', () => {
  expect([0, 0.004, 0.5, 1].map(percent)).toEqual(['0 %', '0.4 %', '50 %', '100 %'])
})
