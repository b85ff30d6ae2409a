import { expect, test } from 'vitest'
import { loadBetween, plotPoints, type Sample } from './load.ts'

function sample(uptime_ms: number, cpu_ms: number): Sample {
  const rest = { mem_peak_bytes: 9, mem_current_bytes: 7, disk_used_bytes: 1, cost_cents: 0 }
  return { at: uptime_ms, usage: { uptime_ms, cpu_ms, ...rest } }
}

test('the load is processor time per time, over all processors', () => {
  expect(loadBetween(sample(1000, 100), sample(3000, 2100), 2)).toEqual({ at: 3000, cpu: 0.5, memoryBytes: 7 })
})

test('never above one, as the two figures are read one after the other', () => {
  expect(loadBetween(sample(0, 0), sample(1000, 1100), 1)?.cpu).toBe(1)
})

test('nothing can be said of a first look, a sandbox that stood still, or one that began anew', () => {
  expect(loadBetween(undefined, sample(1, 1), 1)).toBeUndefined()
  expect(loadBetween(sample(5, 1), sample(5, 1), 1)).toBeUndefined()
  expect(loadBetween(sample(5, 10), sample(9, 1), 1)).toBeUndefined()
})

test('a plot has its newest value on the right edge, and values stay inside', () => {
  expect(plotPoints([0, 5, 20], 10, 5, { width: 100, height: 50 })).toBe('50.0,50.0 75.0,25.0 100.0,0.0')
  expect(plotPoints([], 10, 5, { width: 100, height: 50 })).toBe('')
})
