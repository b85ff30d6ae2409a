import { expect, it } from 'vitest'
import { BootGate } from './boot-gate.ts'

const signal = new AbortController().signal

it('lets so many in at once, first come, first served', async () => {
  const gate = new BootGate(2)
  const order: number[] = []
  const leaves = await Promise.all([gate.enter(signal), gate.enter(signal)])
  const enter = async (number: number) => {
    const leave = await gate.enter(signal)
    order.push(number)
    return leave
  }
  const third = enter(3)
  const fourth = enter(4)
  leaves[0]?.()
  leaves[0]?.()
  ;(await third)()
  await fourth
  expect(order).toEqual([3, 4])
})

it('forgets who gives up waiting', async () => {
  const gate = new BootGate(1)
  const leave = await gate.enter(signal)
  const reason = new Error('enough')
  const impatient = new AbortController()
  const waiting = gate.enter(impatient.signal)
  impatient.abort(reason)
  await expect(waiting).rejects.toBe(reason)
  leave()
  ;(await gate.enter(signal))()
})
