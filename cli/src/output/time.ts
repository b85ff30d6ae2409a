/** Times as people read them. */

/** `85ms`, `2.9s`, `3m 20s`, `2h 5m`, `4d 3h` */
export function elapsed(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1).replace('.0', '')}s`
  const seconds = Math.floor(ms / 1000)
  const parts: [number, string, number, string] =
    seconds < 3600
      ? [Math.floor(seconds / 60), 'm', seconds % 60, 's']
      : seconds < 86_400
        ? [Math.floor(seconds / 3600), 'h', Math.floor((seconds % 3600) / 60), 'm']
        : [Math.floor(seconds / 86_400), 'd', Math.floor((seconds % 86_400) / 3600), 'h']
  const [large, largeUnit, small, smallUnit] = parts
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit} ${small}${smallUnit}`
}

/** How long ago something was made, in whole seconds and never none: two clocks are compared. */
export function age(since: Date): string {
  return elapsed(Math.max(1000, Math.floor((Date.now() - since.getTime()) / 1000) * 1000))
}
