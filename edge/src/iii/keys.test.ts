import { FakeClock } from '@portico/shared/clock'
import { describe, expect, test } from 'vitest'
import type { KeyRecord, Objects } from '../ports.ts'
import { WorkerKeys } from './keys.ts'

const id = 'a'.repeat(36)
const good: KeyRecord = { hash: '', revoked: false, scope: 'full', expiresAt: null, requestsPerSecond: null }

function keysOf(clock: FakeClock, record: () => KeyRecord | null) {
  let asked = 0
  const key = async () => {
    asked++
    return record()
  }
  const objects = { account: () => ({ key }) } as unknown as Objects
  return { keys: new WorkerKeys(clock, objects), asked: () => asked }
}

const over = expect.objectContaining({ code: 'unauthorized' })

describe('the key of a worker', () => {
  test('is asked about once in 10 s, and does not count once it is revoked', async () => {
    const clock = new FakeClock(0)
    let record: KeyRecord | null = good
    const { keys, asked } = keysOf(clock, () => record)
    expect(await keys.check(id)).toEqual(good)
    record = { ...good, revoked: true }
    await clock.advance(9_999)
    expect(await keys.check(id)).toEqual(good)
    expect(asked()).toBe(1)
    await clock.advance(1)
    await expect(keys.check(id)).rejects.toEqual(over)
  })

  test('does not count a moment longer than it may', async () => {
    const clock = new FakeClock(0)
    const { keys } = keysOf(clock, () => ({ ...good, expiresAt: 5000 }))
    await clock.advance(4_999)
    await keys.check(id)
    await clock.advance(1)
    await expect(keys.check(id)).rejects.toEqual(over)
  })

  test('that nobody knows does not count', async () => {
    const { keys } = keysOf(new FakeClock(0), () => null)
    await expect(keys.check(id)).rejects.toEqual(over)
    await expect(keys.check('nonsense')).rejects.toEqual(over)
  })
})
