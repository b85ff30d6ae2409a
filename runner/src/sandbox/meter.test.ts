import { FakeClock } from '@portico/shared/clock'
import { expect, it } from 'vitest'
import type { VmMetrics } from '../vm/driver.ts'
import { Meter } from './meter.ts'

function start(first: VmMetrics | undefined) {
  const clock = new FakeClock(1_000_000)
  const vm = { now: first, metrics: async () => vm.now }
  return { clock, vm, meter: new Meter(vm, clock) }
}

const metrics = (cpuMs: number, memoryBytes: number, memoryPeakBytes = memoryBytes): VmMetrics => ({
  cpuMs,
  memoryBytes,
  memoryPeakBytes,
  diskBytes: 5,
})

it('reads what the machine uses now and since when it was ready', async () => {
  const { clock, meter } = start(metrics(10, 100, 200))
  await clock.advance(1234)
  expect(await meter.read()).toEqual({
    cpu_ms: 10,
    mem_peak_bytes: 200,
    mem_current_bytes: 100,
    disk_used_bytes: 5,
    uptime_ms: 1234,
  })
})

it('reports the last sample of a machine that died', async () => {
  const { clock, vm, meter } = start(metrics(10, 100))
  await clock.advance(0)
  await clock.advance(4000)
  vm.now = metrics(70, 300)
  await clock.advance(1000)
  vm.now = undefined
  await clock.advance(500)
  expect(await meter.finish()).toEqual({
    cpu_ms: 70,
    mem_peak_bytes: 300,
    mem_current_bytes: 0,
    disk_used_bytes: 5,
    uptime_ms: 5500,
  })
})

it('takes a last sample of a machine that still runs, and none after that', async () => {
  const { clock, vm, meter } = start(metrics(10, 100))
  await clock.advance(1000)
  vm.now = metrics(20, 50)
  expect(await meter.finish()).toMatchObject({ cpu_ms: 20, mem_peak_bytes: 100, uptime_ms: 1000 })
  vm.now = metrics(99, 999)
  await clock.advance(60_000)
  expect(await meter.finish()).toMatchObject({ cpu_ms: 20, mem_peak_bytes: 100, uptime_ms: 1000 })
  expect(clock.pending).toBe(0)
})

it('adds up over machines, and does not count the time between them', async () => {
  const { clock, meter } = start(metrics(10, 100, 300))
  await clock.advance(1000)
  const before = await meter.finish()
  await clock.advance(60_000)
  const next = new Meter({ metrics: async () => metrics(5, 200, 250) }, clock, { before })
  await clock.advance(500)
  expect(await next.finish()).toEqual({
    cpu_ms: 15,
    mem_peak_bytes: 300,
    mem_current_bytes: 0,
    disk_used_bytes: 5,
    uptime_ms: 1500,
  })
})

it('goes on counting for a machine that ran before this process did', async () => {
  const { clock } = start(undefined)
  const meter = new Meter({ metrics: async () => undefined }, clock, { since: clock.now() - 9000 })
  await clock.advance(1000)
  expect(await meter.finish()).toMatchObject({ uptime_ms: 10_000 })
})
