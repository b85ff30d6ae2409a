import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { costCents, usage } from './usage.ts'

const hour = 3_600_000

describe('the cost', () => {
  test.each([
    [1, 1, 4],
    [2, 4, 11],
    [4, 8, 22],
    [8, 16, 44],
  ])('of %i vCPUs and %i GiB for an hour is the documented price', (vcpus, gib, cents) => {
    expect(costCents(hour, vcpus, gib * 1024)).toBe(cents)
  })

  test('of the documented examples', () => {
    expect(costCents(1000, 1, 1024)).toBeCloseTo(0.001_11, 5)
    expect(costCents(90_000, 1, 1024)).toBeCloseTo(0.1, 12)
    expect(costCents(59_000, 1, 1024)).toBeCloseTo(0.0656, 4)
  })

  test('has no minimum and no rounding', () => {
    expect(costCents(0, 8, 16_384)).toBe(0)
    expect(costCents(1, 1, 1024)).toBe(4 / hour)
  })

  test('grows with time, in proportion', () => {
    fc.assert(
      fc.property(
        fc.nat(hour),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 128, max: 32_768 }),
        (ms, vcpus, mib) => {
          expect(costCents(2 * ms, vcpus, mib)).toBeCloseTo(2 * costCents(ms, vcpus, mib), 9)
        },
      ),
    )
  })

  test('takes other rates', () => {
    expect(costCents(hour, 2, 2048, { vcpuHour: 1, gibHour: 10 })).toBe(22)
  })
})

test('usage is numbers, and unknown fields are dropped', () => {
  const all = { cpu_ms: 1, mem_peak_bytes: 2, mem_current_bytes: 3, disk_used_bytes: 4, uptime_ms: 5 }
  expect(usage.parse({ ...all, more: 6 })).toEqual(all)
  expect(usage.safeParse({ ...all, cpu_ms: '1' }).success).toBe(false)
})
