/** A duration on the command line: `30s`, `5m`, `1h30m`, `500ms`; a bare number is seconds. */

import { InvalidArgumentError } from 'commander'

const unitSeconds: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 }

/** The duration in seconds. */
export function duration(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text)
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text))
    throw new InvalidArgumentError('A duration looks like 30s, 5m or 1h30m.')
  let seconds = 0
  for (const [, amount, unit] of text.matchAll(/([\d.]+)(ms|s|m|h|d)/g))
    seconds += Number(amount) * (unitSeconds[unit ?? ''] ?? 0)
  return Math.round(seconds * 1000) / 1000
}

/** A duration that is more than nothing. */
export function positiveDuration(text: string): number {
  const seconds = duration(text)
  if (seconds === 0) throw new InvalidArgumentError('Give more than nothing, such as 30s.')
  return seconds
}

/** A duration in whole seconds, where 0 means never. */
export function wholeSeconds(text: string): number {
  return Math.ceil(duration(text))
}
