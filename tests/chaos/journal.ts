/** What a chaos run did and found, and the table that it prints at its end. */

import { quantile } from '../bench/stats.ts'

/** What came of the operations of one kind. */
interface Tally {
  tried: number
  acknowledged: number
  readonly refused: Map<string, number>
}

const linesKept = 4000

export class Journal {
  readonly findings: string[] = []
  /** What is worth knowing and is no fault. */
  readonly notes: string[] = []
  readonly #start = performance.now()
  readonly #operations = new Map<string, Tally>()
  readonly #faults = new Map<string, number[]>()
  readonly #lines: string[] = []

  /** One line of the trace. */
  trace(text: string): void {
    const seconds = ((performance.now() - this.#start) / 1000).toFixed(3)
    this.#lines.push(`${seconds.padStart(8)} ${text}`)
    if (this.#lines.length > 2 * linesKept) this.#lines.splice(0, linesKept)
  }

  /** Something that may not be. */
  find(text: string): void {
    if (this.findings.includes(text)) return
    this.findings.push(text)
    this.trace(`FOUND ${text}`)
  }

  acknowledged(kind: string): void {
    this.#tally(kind).acknowledged += 1
  }

  tried(kind: string): void {
    this.#tally(kind).tried += 1
  }

  refused(kind: string, code: string): void {
    const { refused } = this.#tally(kind)
    refused.set(code, (refused.get(code) ?? 0) + 1)
  }

  /** A fault, and how long until calls got through again. */
  fault(kind: string, recoveryMs: number): void {
    this.#faults.set(kind, [...(this.#faults.get(kind) ?? []), recoveryMs])
  }

  /** How many operations of all kinds were acknowledged. */
  get done(): number {
    return [...this.#operations.values()].reduce((sum, { acknowledged }) => sum + acknowledged, 0)
  }

  /** Kinds of faults that happened. */
  get faults(): readonly string[] {
    return [...this.#faults.keys()]
  }

  tail(count: number): string {
    return this.#lines.slice(-count).join('\n')
  }

  summary(): string {
    const operations = [...this.#operations].map(([kind, { tried, acknowledged, refused }]) => {
      const codes = [...refused].sort((a, b) => b[1] - a[1]).map(([code, count]) => `${code} ${count}`)
      return [kind, String(tried), String(acknowledged), codes.join(', ')]
    })
    const faults = [...this.#faults].map(([kind, times]) => {
      return [kind, String(times.length), ...[0.5, 0.95].map((part) => quantile(times, part).toFixed(0))]
    })
    return [
      ...columns([['operation', 'tried', 'acknowledged', 'refused'], ...operations]),
      '',
      ...columns([['fault', 'times', 'back after ms, p50', 'p95'], ...faults]),
      '',
      ...this.notes,
      this.findings.length === 0 ? 'nothing lost, nothing doubled, nothing left' : `${this.findings.length} findings:`,
      ...this.findings.map((finding) => `  ${finding}`),
    ].join('\n')
  }

  #tally(kind: string): Tally {
    const known = this.#operations.get(kind)
    if (known) return known
    const made = { tried: 0, acknowledged: 0, refused: new Map<string, number>() }
    this.#operations.set(kind, made)
    return made
  }
}

/** First and last column to the left, the numbers between to the right. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) => {
    const cells = row.map((cell, column) => {
      const width = widths[column] ?? 0
      return column === 0 || !/^[\d.]*$/.test(cell) ? cell.padEnd(width) : cell.padStart(width)
    })
    return cells.join('  ').trimEnd()
  })
}
