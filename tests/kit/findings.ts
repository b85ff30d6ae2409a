/** What a proof of many found, and how that is shown. */

/** One line of the table. */
export interface Finding {
  readonly what: string
  readonly found: string
  /** What it has to be, where that is stated. */
  readonly bound?: string
  readonly holds: boolean
}

/** A finding that has to be exactly so. */
export function exactly(what: string, found: string | number, wanted: string | number): Finding {
  return { what, found: String(found), bound: String(wanted), holds: found === wanted }
}

/** A finding that is a number with a limit. */
export function atMost(what: string, found: number, limit: number, unit: string): Finding {
  return { what, found: `${shown(found)} ${unit}`, bound: `<= ${limit} ${unit}`, holds: found <= limit }
}

/** A finding without a limit. */
export function told(what: string, found: string): Finding {
  return { what, found, holds: true }
}

export function shown(value: number): string {
  return String(Number(value.toPrecision(3)))
}

/** All of them as an aligned table. */
export function table(rows: readonly (Finding & { proof: string })[]): string {
  const cells = rows.map((row) => [
    row.proof,
    row.what,
    cell(row.found),
    cell(row.bound ?? ''),
    row.holds ? 'holds' : 'MISSED',
  ])
  const lines = [['proof', 'what', 'found', 'stated', ''], ...cells]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

/** On one line, and not too long of one. */
function cell(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length > 90 ? `${line.slice(0, 87)}...` : line
}
