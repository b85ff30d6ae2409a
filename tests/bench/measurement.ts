/** What a file of the benchmark offers to `main.ts`. */

import type { Row } from './stats.ts'

export interface Run {
  /** Tells a person what goes on. */
  readonly say: (text: string) => void
  /** Of each row that can have so many. */
  readonly samples: number
  /** Whether somebody asked for this row. */
  readonly wanted: (name: string) => boolean
}

/** Makes one row or more. */
export interface Measurement {
  readonly rows: readonly string[]
  run(run: Run): Promise<Row[]>
}
