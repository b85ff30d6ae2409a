import { expect, test } from 'vitest'
import { type WatchOptions, watchGrowth } from './watch.ts'

const never = new AbortController().signal

test('what grows beyond its limit is ended, after it was told how far it is', async () => {
  const told: number[] = []
  let size = 0
  const measure = async () => {
    size += 60
    return size
  }
  await using watch = watchGrowth({ ...options, measure, onBytes: (bytes) => told.push(bytes), maxBytes: 100 })
  await aborted(watch.signal)
  expect(watch.signal.reason).toMatchObject({ message: 'too much' })
  expect(told).toEqual([60, 100])
})

test('what stays the same for too long is ended', async () => {
  await using watch = watchGrowth({ ...options, measure: async () => 10, stallMs: 1 })
  await aborted(watch.signal)
  expect(watch.signal.reason).toMatchObject({ message: 'stalled' })
})

test("the caller's signal goes through, and nothing is told after the end", async () => {
  const caller = new AbortController()
  const told: number[] = []
  const watch = watchGrowth({ ...options, signal: caller.signal, onBytes: (bytes) => told.push(bytes) })
  caller.abort(new Error('enough'))
  expect(watch.signal.reason).toMatchObject({ message: 'enough' })
  await watch[Symbol.asyncDispose]()
  expect(told).toEqual([])
})

const options: WatchOptions = {
  signal: never,
  measure: async () => 1,
  onBytes: () => undefined,
  maxBytes: 1000,
  tooMuch: () => new Error('too much'),
  stallMs: 60_000,
  stalled: () => new Error('stalled'),
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
}
