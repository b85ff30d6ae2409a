import { FakeClock } from '@portico/shared/clock'
import { expect, it } from 'vitest'
import { IdleTimer } from './idle.ts'

function start(seconds: number) {
  const clock = new FakeClock()
  const state = { fired: 0 }
  const timer = new IdleTimer(clock, seconds, () => void state.fired++)
  return { clock, state, timer }
}

it('fires when nothing happened for the time', async () => {
  const { clock, state } = start(10)
  await clock.advance(9999)
  expect(state.fired).toBe(0)
  await clock.advance(1)
  expect(state.fired).toBe(1)
})

it('counts the start and the end of each activity', async () => {
  const { clock, state, timer } = start(10)
  await clock.advance(9000)
  const end = timer.begin()
  await clock.advance(100_000)
  expect(state.fired).toBe(0)
  end()
  end()
  await clock.advance(9999)
  expect(state.fired).toBe(0)
  await clock.advance(1)
  expect(state.fired).toBe(1)
})

it('waits for the last of several activities', async () => {
  const { clock, state, timer } = start(10)
  const ends = [timer.begin(), timer.begin()]
  ends[0]?.()
  await clock.advance(60_000)
  expect(state.fired).toBe(0)
  ends[1]?.()
  await clock.advance(10_000)
  expect(state.fired).toBe(1)
})

it('starts anew when the limit changes', async () => {
  const { clock, state, timer } = start(10)
  await clock.advance(9000)
  timer.update(5)
  await clock.advance(4999)
  expect(state.fired).toBe(0)
  await clock.advance(1)
  expect(state.fired).toBe(1)
})

it('never fires with the limit 0', async () => {
  const { clock, state, timer } = start(0)
  await clock.advance(10 ** 9)
  timer.update(1)
  timer.update(0)
  await clock.advance(10 ** 9)
  expect([state.fired, clock.pending]).toEqual([0, 0])
})

it('waits for limits that are longer than a timer can be', async () => {
  const { clock, state } = start(30 * 86_400)
  await clock.advance(30 * 86_400_000 - 1)
  expect(state.fired).toBe(0)
  await clock.advance(1)
  expect(state.fired).toBe(1)
})

it('leaves no timer once it is stopped', async () => {
  const { clock, state, timer } = start(10)
  const end = timer.begin()
  timer.stop()
  end()
  timer.update(1)
  await clock.advance(60_000)
  expect([state.fired, clock.pending]).toEqual([0, 0])
})

it('begins anew when it is restarted, still counting what was under way', async () => {
  const { clock, state, timer } = start(10)
  const end = timer.begin()
  timer.stop()
  await clock.advance(60_000)
  timer.restart()
  await clock.advance(60_000)
  expect([state.fired, timer.expired]).toEqual([0, false])
  end()
  await clock.advance(10_000)
  expect([state.fired, timer.expired]).toEqual([1, true])
})
