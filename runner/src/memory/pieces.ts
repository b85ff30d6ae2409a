/** Where the bytes of a set of pages are on both sides: in the process, and in buffers that hold the runs' content without gaps. */

import { AppError } from '@portico/shared/errors'
import { type PageRun, pageBytes } from './page-set.ts'
import { maxPieceBytes, type Piece } from './transfer.ts'

/** Walks along runs while buffers come one after the other. */
export class Pieces {
  readonly #runs: readonly PageRun[]
  readonly #address: number
  #run = 0
  /** Pages of the run that are done. */
  #taken = 0

  /** `address` is where the memory begins in the process. */
  constructor(runs: readonly PageRun[], address: number) {
    this.#runs = runs
    this.#address = address
  }

  get done(): boolean {
    return this.#run === this.#runs.length
  }

  /** The pieces that fill `buffer`, or less where the runs end; all of a buffer must be used when writing. */
  fill(buffer: Uint8Array): Piece[] {
    const pieces: Piece[] = []
    for (let from = 0; from < buffer.length && !this.done; ) {
      const run = this.#runs[this.#run] as PageRun
      const most = Math.min(buffer.length - from, maxPieceBytes) / pageBytes
      const count = Math.min(Math.floor(most), run.count - this.#taken)
      if (count < 1) throw new AppError('snapshot_damaged', 'cannot restore: there are parts of pages')
      const address = this.#address + (run.first + this.#taken) * pageBytes
      pieces.push({ buffer, from, bytes: count * pageBytes, address })
      from += count * pageBytes
      this.#advance(run, count)
    }
    return pieces
  }

  #advance(run: PageRun, count: number): void {
    this.#taken += count
    if (this.#taken < run.count) return
    this.#run++
    this.#taken = 0
  }
}
