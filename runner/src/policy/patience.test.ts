import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { expect, it } from 'vitest'
import { patient } from './patience.ts'

const late = new AppError('image_pull_failed', 'cannot use the image: it is still being pulled; try again')

function setUp() {
  const clock = new FakeClock()
  const caller = new AbortController()
  const work = Promise.withResolvers<string>()
  let seen = caller.signal
  const value = patient(clock, caller.signal, late, (signal) => {
    seen = signal
    signal.addEventListener('abort', () => work.reject(signal.reason))
    return work.promise
  })
  value.catch(() => undefined)
  return { clock, caller, work, value, inner: () => seen }
}

it('gives up before the edge does, and leaves the work going for a while', async () => {
  const { clock, caller, value, inner } = setUp()
  await clock.advance(299_000)
  await expect(value).rejects.toBe(late)
  caller.abort(new Error('the create is over'))
  expect(inner().aborted).toBe(false)
  await clock.advance(11 * 60_000)
  expect(inner().aborted).toBe(true)
})

it('answers what is there in time', async () => {
  const { clock, work, value } = setUp()
  await clock.advance(200_000)
  work.resolve('image')
  expect(await value).toBe('image')
})

it('ends the work with a waiter that is aborted', async () => {
  const { caller, value } = setUp()
  const reason = new Error('destroyed')
  caller.abort(reason)
  await expect(value).rejects.toBe(reason)
})
