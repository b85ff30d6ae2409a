import { expect, test } from 'vitest'
import { Stream } from './stream.ts'
import { Turns } from './turns.ts'

const ignore = () => undefined

function stream(id: number, queued = 0): Stream {
  const host = { wake: ignore, credit: ignore, reset: ignore, over: ignore }
  const made = new Stream({ host, id, opener: 'this side', head: new Uint8Array(0), window: 16_384, credit: 1_000_000 })
  if (queued > 0) made.write(new Uint8Array(queued)).catch(ignore)
  return made
}

test('streams have their turns in the order of coming, each once', () => {
  const turns = new Turns()
  const [one, two, three] = [stream(1), stream(3), stream(5)]
  for (const each of [one, two, one, three, two]) turns.add(each)
  expect([turns.next(), turns.next(), turns.next(), turns.next()]).toEqual([one, two, three, undefined])
})

test('who comes again after a turn stands at the end', () => {
  const turns = new Turns()
  const [one, two] = [stream(1), stream(3)]
  turns.add(one)
  turns.add(two)
  const order: (number | undefined)[] = []
  for (let count = 0; count < 6; count++) {
    const next = turns.next()
    order.push(next?.id)
    if (next) turns.add(next)
  }
  expect(order).toEqual([1, 3, 1, 3, 1, 3])
})

test('who leaves is not held', () => {
  const turns = new Turns()
  const streams = Array.from({ length: 1000 }, (_, index) => stream(2 * index + 1))
  for (const one of streams) turns.add(one)
  for (const one of streams.slice(1)) turns.leave(one)
  expect(turns.length).toBe(1)
  expect(turns.next()).toBe(streams[0])
  turns.add(streams[1] as Stream)
  turns.clear()
  expect(turns.length).toBe(0)
})

test('what could be sent is counted as far as it matters', () => {
  const turns = new Turns()
  for (let id = 1; id < 20; id += 2) turns.add(stream(id, 10_000))
  const all = turns.sendableLength(Number.POSITIVE_INFINITY)
  expect(all).toBeGreaterThanOrEqual(100_000)
  expect(all).toBeLessThan(101_000)
  expect(turns.sendableLength(15_000)).toBeLessThan(21_000)
})
