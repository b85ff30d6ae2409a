import { describe, expect, test } from 'vitest'
import { FakeClock, sleep, systemClock } from './clock.ts'

describe('the fake clock', () => {
  test('runs what falls due in order of time, and what is due together in order of making', async () => {
    const clock = new FakeClock(1000)
    const ran: [string, number][] = []
    const note = (name: string) => () => ran.push([name, clock.now()])
    clock.after(20, note('late'))
    clock.after(10, note('first'))
    clock.after(10, note('second'))
    await clock.advance(9)
    expect(ran).toEqual([])
    await clock.advance(11)
    expect(ran).toEqual([
      ['first', 1010],
      ['second', 1010],
      ['late', 1020],
    ])
    expect([clock.now(), clock.pending]).toEqual([1020, 0])
  })

  test('runs in one advance what is set while it advances', async () => {
    const clock = new FakeClock()
    const at: number[] = []
    const again = () => {
      at.push(clock.now())
      if (at.length < 3) clock.after(10, again)
    }
    clock.after(10, again)
    await clock.advance(100)
    expect(at).toEqual([10, 20, 30])
  })

  test('does not run what is cancelled, and cancelling may be repeated', async () => {
    const clock = new FakeClock()
    const ran: string[] = []
    const cancel = clock.after(5, () => ran.push('cancelled'))
    clock.after(1, () => cancel())
    await clock.advance(10)
    cancel()
    expect(ran).toEqual([])
    expect(clock.pending).toBe(0)
  })

  test('lets promises settle between two timers', async () => {
    const clock = new FakeClock()
    const order: string[] = []
    clock.after(1, () => void Promise.resolve().then(() => order.push('promise')))
    clock.after(2, () => order.push('timer'))
    await clock.advance(2)
    expect(order).toEqual(['promise', 'timer'])
  })
})

describe('sleep', () => {
  test('waits its time and leaves nothing', async () => {
    const clock = new FakeClock()
    let isAwake = false
    const slept = sleep(100, new AbortController().signal, clock).then(() => {
      isAwake = true
    })
    await clock.advance(99)
    expect(isAwake).toBe(false)
    await clock.advance(1)
    await slept
    expect(clock.pending).toBe(0)
  })

  test('rejects with the reason of its signal, before or on the way, and takes its timer back', async () => {
    const clock = new FakeClock()
    await expect(sleep(100, AbortSignal.abort('early'), clock)).rejects.toBe('early')
    const controller = new AbortController()
    const slept = sleep(100, controller.signal, clock)
    controller.abort('enough')
    await expect(slept).rejects.toBe('enough')
    expect(clock.pending).toBe(0)
  })
})

test('the system clock runs and cancels', async () => {
  const ran: string[] = []
  await new Promise<void>((resolve) => {
    const cancel = systemClock.after(0, () => ran.push('cancelled'))
    systemClock.after(1, resolve)
    cancel()
  })
  expect(ran).toEqual([])
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000)
})
