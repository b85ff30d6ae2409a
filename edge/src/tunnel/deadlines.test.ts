import { FakeClock } from '@portico/shared/clock'
import type { AppError } from '@portico/shared/errors'
import type { Muxer } from '@portico/shared/tunnel'
import { beforeEach, expect, test } from 'vitest'
import { watch } from './deadlines.ts'
import type { Session } from './sessions.ts'

let clock: FakeClock
let session: Session
let isHeard: boolean
let dropped: string[]
let expired: string[]

beforeEach(() => {
  clock = new FakeClock(1_000_000)
  isHeard = true
  dropped = []
  expired = []
  session = {
    id: 's',
    muxer: undefined as unknown as Muxer,
    isAlive: () => isHeard,
    drop: (error: AppError) => dropped.push(error.code),
  }
})

const due = (name: string, ms: number) => ({ dueAt: clock.now() + ms, expire: () => expired.push(name) })

test('each call is given up when it is due, whatever the order they came in', async () => {
  for (const [name, ms] of [
    ['c', 25_000],
    ['a', 3000],
    ['b', 4000],
  ] as const)
    watch(session, clock, due(name, ms))
  await clock.advance(2999)
  expect(expired).toEqual([])
  await clock.advance(1)
  expect(expired).toEqual(['a'])
  await clock.advance(1000)
  expect(expired).toEqual(['a', 'b'])
  await clock.advance(20_999)
  expect(expired).toEqual(['a', 'b'])
  await clock.advance(1)
  expect(expired).toEqual(['a', 'b', 'c'])
  expect(clock.pending).toBe(0)
})

test('a call that moves is given later', async () => {
  const call = { dueAt: clock.now() + 3000, expire: () => expired.push('a') }
  watch(session, clock, call)
  call.dueAt += 5000
  await clock.advance(7999)
  expect(expired).toEqual([])
  await clock.advance(1)
  expect(expired).toEqual(['a'])
})

test('all calls share one timer, and none stands when there is no call', () => {
  const stops = [due('a', 60_000), due('b', 60_000), due('c', 60_000)].map((call) => watch(session, clock, call))
  expect(clock.pending).toBe(1)
  for (const stop of stops) stop()
  expect(clock.pending).toBe(0)
})

test('a call that comes after others were over is watched anew', async () => {
  watch(session, clock, due('a', 60_000))()
  watch(session, clock, due('b', 2000))
  await clock.advance(2000)
  expect(expired).toEqual(['b'])
})

test('a runner that fell silent is noticed within ten seconds, however long its calls may take', async () => {
  watch(session, clock, due('a', 3_600_000))
  await clock.advance(10_000)
  expect(dropped).toEqual([])
  isHeard = false
  await clock.advance(10_000)
  expect(dropped).toEqual(['runner_disconnected'])
})
