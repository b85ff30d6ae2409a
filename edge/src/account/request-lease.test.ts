import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { describe, expect, test } from 'vitest'
import type { AccountPort, Objects } from '../ports.ts'
import { type Bucket, fullBucket, take } from './bucket.ts'
import { RequestLeases } from './request-lease.ts'

/** An account with a bucket, and how often it was asked. */
function accountOf(clock: FakeClock, rate: number) {
  const seen = { asked: 0 }
  let bucket: Bucket = fullBucket(rate, clock.now())
  const account: Partial<AccountPort> = {
    lease: async (requests) => {
      seen.asked += 1
      const taken = take(bucket, rate, requests, clock.now())
      bucket = taken.bucket
      return taken.got
    },
  }
  return { seen, objects: { account: () => account } as unknown as Objects }
}

async function passes(leases: RequestLeases, objects: Objects, rate: number | null): Promise<boolean> {
  try {
    await leases.take(objects, 'account', rate)
    return true
  } catch (thrown) {
    expect(AppError.from(thrown)).toMatchObject({ code: 'rate_limited', retryAfter: 1 })
    expect(AppError.from(thrown).message).toContain(`requests_per_second = ${rate} is reached`)
    return false
  }
}

describe('an isolate', () => {
  test('asks nobody for an account without a limit', async () => {
    const { seen, objects } = accountOf(new FakeClock(), 1)
    const leases = new RequestLeases(new FakeClock())
    for (let request = 0; request < 100; request++) expect(await passes(leases, objects, null)).toBe(true)
    expect(seen.asked).toBe(0)
  })

  test('asks once for a tenth of a second of requests', async () => {
    const clock = new FakeClock(1_000_000)
    const { seen, objects } = accountOf(clock, 1000)
    const leases = new RequestLeases(clock)
    for (let request = 0; request < 1000; request++) expect(await passes(leases, objects, 1000)).toBe(true)
    expect(seen.asked).toBe(10)
    expect(await passes(leases, objects, 1000)).toBe(false)
  })

  test('does not ask an empty bucket for each request that it refuses', async () => {
    const clock = new FakeClock(1_000_000)
    const { seen, objects } = accountOf(clock, 2)
    const leases = new RequestLeases(clock)
    expect([await passes(leases, objects, 2), await passes(leases, objects, 2)]).toEqual([true, true])
    for (let request = 0; request < 50; request++) expect(await passes(leases, objects, 2)).toBe(false)
    expect(seen.asked).toBe(3)
    await clock.advance(500)
    expect([await passes(leases, objects, 2), await passes(leases, objects, 2)]).toEqual([true, false])
  })

  test('gives up what it did not use for a second', async () => {
    const clock = new FakeClock(1_000_000)
    const { seen, objects } = accountOf(clock, 100)
    const leases = new RequestLeases(clock)
    expect(await passes(leases, objects, 100)).toBe(true)
    await clock.advance(1000)
    expect(await passes(leases, objects, 100)).toBe(true)
    expect(seen.asked).toBe(2)
  })

  test('lets through what the bucket has and no more, however many come at once', async () => {
    const clock = new FakeClock(1_000_000)
    const { objects } = accountOf(clock, 30)
    const isolates = [new RequestLeases(clock), new RequestLeases(clock), new RequestLeases(clock)]
    const burst = isolates.flatMap((leases) => Array.from({ length: 40 }, () => passes(leases, objects, 30)))
    const through = (await Promise.all(burst)).filter(Boolean).length
    expect(through).toBeLessThanOrEqual(30)
    expect(through).toBeGreaterThan(0)
  })
})
