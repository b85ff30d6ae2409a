/** Numbers of a benchmark and how they are shown. */

export type Unit = 'ms' | 'MB/s' | 'MiB' | 'req/s'

export interface Row {
  readonly name: string
  readonly unit: Unit
  readonly n: number
  readonly p50: number
  readonly p95: number
  /** What the machine could do at best, from the same run. */
  readonly floor?: { readonly name: string; readonly p50: number }
  /** How many times the floor: above 1 is worse for times, below 1 is worse for rates. */
  readonly ratio?: number
  /** What it has to show, and whether it did. */
  readonly goal?: { readonly text: string; readonly met: boolean }
  /** What else there is to know of it. */
  readonly note?: string
  /** Why there is no number. */
  readonly missing?: string
}

/** The value below which the share `q` of the samples lies, by nearest rank. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN
}

/** A row from samples. For rates the p95 is the slow end: 95% of the samples are at least that fast. */
export function row(
  name: string,
  unit: Unit,
  samples: readonly number[],
  floorName?: string,
  floor: readonly number[] = [],
): Row {
  const rate = unit === 'MB/s' || unit === 'req/s'
  const p50 = quantile(samples, 0.5)
  const found = { name, unit, n: samples.length, p50: round(p50), p95: round(quantile(samples, rate ? 0.05 : 0.95)) }
  if (floorName === undefined) return found
  const floorP50 = quantile(floor, 0.5)
  return { ...found, floor: { name: floorName, p50: round(floorP50) }, ratio: round(p50 / floorP50) }
}

/** A row that could not be measured on this host. */
export function unavailable(name: string, unit: Unit, why: string): Row {
  return { name, unit, n: 0, p50: Number.NaN, p95: Number.NaN, missing: why }
}

/** The rows as an aligned table; what could not be measured stands below it. */
export function table(rows: readonly Row[]): string {
  const head = ['row', 'n', 'p50', 'p95', 'unit', 'floor', 'floor p50', 'ratio', 'goal']
  const cells = rows.map((r) =>
    [
      r.name,
      r.n,
      shown(r.p50),
      shown(r.p95),
      r.unit,
      r.floor?.name ?? '',
      shown(r.floor?.p50),
      r.ratio === undefined ? '' : `${r.ratio}x`,
      r.goal === undefined ? '' : `${r.goal.text}: ${r.goal.met ? 'met' : 'missed'}`,
    ].map(String),
  )
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((line) => line[column]?.length ?? 0)))
  const left = new Set([0, 4, 5, 8])
  const line = (values: readonly string[]) =>
    values
      .map((value, column) =>
        left.has(column) ? value.padEnd(widths[column] ?? 0) : value.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd()
  const missing = rows.flatMap(({ name, missing: why }) => (why === undefined ? [] : [`${name}: not measured: ${why}`]))
  const notes = rows.flatMap(({ name, note }) => (note === undefined ? [] : [`${name}: ${note}`]))
  return `${[...[head, ...cells].map(line), ...notes, ...missing].join('\n')}\n`
}

function shown(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? '' : String(value)
}

function round(value: number): number {
  return Number(value.toPrecision(4))
}
