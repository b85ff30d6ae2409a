import { FakeClock } from '@portico/shared/clock'
import { expect, test } from 'vitest'
import { discard } from './rows.ts'

test('telemetry is taken for an hour, and in frames of 1 MiB', async () => {
  const made = () => {
    const clock = new FakeClock()
    const closed: number[] = []
    const heard = new Map<string, (event: { data: unknown }) => void>()
    const addEventListener = (name: string, listener: (event: { data: unknown }) => void) => heard.set(name, listener)
    discard({ addEventListener, close: (code: number) => closed.push(code) } as never, clock)
    return { clock, closed, tell: (length: number) => heard.get('message')?.({ data: new ArrayBuffer(length) }) }
  }
  const [old, large] = [made(), made()]
  await old.clock.advance(3_599_999)
  expect(old.closed).toEqual([])
  await old.clock.advance(1)
  expect(old.closed).toEqual([1001])
  large.tell(1_048_576)
  expect(large.closed).toEqual([])
  large.tell(1_048_577)
  expect([large.closed, large.clock.pending]).toEqual([[1009], 0])
})
