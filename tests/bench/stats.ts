/** Numbers of a benchmark and how they are shown. */

export interface Row {
  readonly name: string
  readonly unit: 'ms' | 'MB/s' | 'MiB' | 'req/s'
  readonly n: number
  readonly p50: number
  readonly p95: number
  /** What the machine could do at best, from the same run. */
  readonly floor: { readonly name: string; readonly p50: number }
  /** How many times the floor: above 1 is worse for times, below 1 is worse for rates. */
  readonly ratio: number
}

/** The value below which the share `q` of the samples lies, by nearest rank. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN
}

/** A row from samples. For rates the p95 is the slow end: 95% of the samples are at least that fast. */
export function row(
  name: string,
  unit: Row['unit'],
  samples: readonly number[],
  floorName: string,
  floor: readonly number[],
): Row {
  const rate = unit === 'MB/s' || unit === 'req/s'
  const p50 = quantile(samples, 0.5)
  const floorP50 = quantile(floor, 0.5)
  return {
    name,
    unit,
    n: samples.length,
    p50: round(p50),
    p95: round(quantile(samples, rate ? 0.05 : 0.95)),
    floor: { name: floorName, p50: round(floorP50) },
    ratio: round(p50 / floorP50),
  }
}

/** The rows as an aligned table. */
export function table(rows: readonly Row[]): string {
  const head = ['row', 'n', 'p50', 'p95', 'unit', 'floor', 'floor p50', 'ratio']
  const cells = rows.map((r) =>
    [r.name, r.n, r.p50, r.p95, r.unit, r.floor.name, r.floor.p50, `${r.ratio}x`].map(String),
  )
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((line) => line[column]?.length ?? 0)))
  const left = new Set([0, 4, 5])
  const line = (values: readonly string[]) =>
    values
      .map((value, column) =>
        left.has(column) ? value.padEnd(widths[column] ?? 0) : value.padStart(widths[column] ?? 0),
      )
      .join('  ')
  return `${[head, ...cells].map(line).join('\n')}\n`
}

function round(value: number): number {
  return Number(value.toPrecision(4))
}
