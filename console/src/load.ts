/** What a sandbox does right now, from what it used at two moments. */

import type { UsageResponse } from '@portico/shared/api'

/** One look at a sandbox's usage, `at` this clock's milliseconds. */
export interface Sample {
  readonly at: number
  readonly usage: UsageResponse
}

export interface Load {
  readonly at: number
  /** Of all its processors together: 0 to 1. */
  readonly cpu: number
  readonly memoryBytes: number
}

/** The load between two looks; nothing where the sandbox's own clock stood still or began anew. */
export function loadBetween(before: Sample | undefined, now: Sample, vcpus: number): Load | undefined {
  if (before === undefined) return undefined
  const passed = now.usage.uptime_ms - before.usage.uptime_ms
  const used = now.usage.cpu_ms - before.usage.cpu_ms
  if (passed <= 0 || used < 0) return undefined
  const cpu = Math.min(1, used / passed / Math.max(1, vcpus))
  return { at: now.at, cpu, memoryBytes: now.usage.mem_current_bytes }
}

/** A line through values from 0 to `most`, as points of an SVG of this size; the newest is on the right, `room` values fill the width. */
export function plotPoints(
  values: readonly number[],
  most: number,
  room: number,
  size: { readonly width: number; readonly height: number },
): string {
  const shown = values.slice(-room)
  const step = size.width / Math.max(1, room - 1)
  const first = size.width - (shown.length - 1) * step
  const y = (value: number) => size.height - (Math.min(most, Math.max(0, value)) / (most || 1)) * size.height
  return shown.map((value, index) => `${(first + index * step).toFixed(1)},${y(value).toFixed(1)}`).join(' ')
}
