import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Bucket, fullBucket, take } from './bucket.ts'

interface Taken {
  readonly at: number
  readonly got: number
}

const start = 1_700_000_000_000
const rates = fc.integer({ min: 1, max: 5000 })
const steps = fc.array(
  fc.record({
    /** Now and then the clock goes backwards. */
    ms: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 3000 }), fc.integer({ min: -50, max: 0 })),
    asked: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 10_000 })),
  }),
  { maxLength: 60 },
)

function run(rate: number, plan: readonly { ms: number; asked: number }[]): Taken[] {
  let bucket: Bucket = fullBucket(rate, start)
  let now = start
  return plan.map(({ ms, asked }) => {
    now += ms
    const taken = take(bucket, rate, asked, now)
    bucket = taken.bucket
    expect(Number.isInteger(taken.got)).toBe(true)
    expect(taken.got).toBeGreaterThanOrEqual(0)
    expect(taken.got).toBeLessThanOrEqual(asked)
    expect(bucket.tokens).toBeGreaterThanOrEqual(0)
    expect(bucket.tokens).toBeLessThanOrEqual(rate)
    return { at: bucket.at, got: taken.got }
  })
}

describe('a bucket', () => {
  test('gives in no stretch of time more than its rate and one second on top', () => {
    fc.assert(
      fc.property(rates, steps, (rate, plan) => {
        const taken = run(rate, plan)
        for (let from = 0; from < taken.length; from++) {
          let sum = 0
          for (let to = from; to < taken.length; to++) {
            sum += taken[to]?.got ?? 0
            const ms = (taken[to]?.at ?? 0) - (taken[from]?.at ?? 0)
            expect(sum).toBeLessThanOrEqual(rate + (rate * ms) / 1000 + 1e-6)
          }
        }
      }),
    )
  })

  test('is full again after a second of rest, whatever was taken before', () => {
    fc.assert(
      fc.property(rates, steps, (rate, plan) => {
        let bucket: Bucket = fullBucket(rate, start)
        for (const { asked } of plan) ({ bucket } = take(bucket, rate, asked, bucket.at))
        expect(take(bucket, rate, rate, bucket.at + 1000).got).toBe(rate)
      }),
    )
  })

  test('gives who asks steadily all of its rate, also in small pieces', () => {
    fc.assert(
      fc.property(rates, fc.integer({ min: 1, max: 100 }), (rate, everyMs) => {
        let bucket: Bucket = { tokens: 0, at: start }
        let got = 0
        for (let now = start + everyMs; now <= start + 1000; now += everyMs) {
          const taken = take(bucket, rate, rate, now)
          bucket = taken.bucket
          got += taken.got
        }
        const whole = Math.floor(1000 / everyMs) * everyMs
        expect(got).toBeGreaterThanOrEqual(Math.floor((rate * whole) / 1000 - 1e-6) - 1)
      }),
    )
  })

  test('that was lowered gives no more than the lower rate', () => {
    expect(take(fullBucket(100, start), 10, 50, start).got).toBe(10)
  })
})
