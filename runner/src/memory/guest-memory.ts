/**
 * A guest's memory as its QEMU's process has it: which pages differ from the file that it maps, what is in them, and writing pages into a machine that
 * has not run yet. All of it through `/proc`, so QEMU needs neither to know nor to help. The machine stands still meanwhile, or what is read is worth
 * no more than a guess.
 *
 * It owns two open descriptors.
 */

import { closeSync, openSync, readSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { AppError } from '@portico/shared/errors'
import { findMapping, type Mapping } from './mapping.ts'
import { type PageRun, type PageSet, pageBytes } from './page-set.ts'
import { bytesPerEntry, RunCollector } from './pagemap.ts'
import { Pieces } from './pieces.ts'
import { type Direction, transfer } from './transfer.ts'

/** Entries of the page map that are read at once: those of 256 MiB of memory. */
const entriesAtOnce = 65_536

export class GuestMemory {
  readonly #mapping: Mapping
  readonly #pages: number
  readonly #memory: number

  private constructor(mapping: Mapping, pages: number, memory: number) {
    this.#mapping = mapping
    this.#pages = pages
    this.#memory = memory
  }

  /** Opens the memory of process `pid`, which maps `base` whole. `direction` is `write` only for a machine that has not run yet. */
  static async open(pid: number, base: string, direction: Direction): Promise<GuestMemory> {
    const mapping = findMapping(await readFile(`/proc/${pid}/maps`, 'utf8'), await stat(base, { bigint: true }))
    const pages = openSync(`/proc/${pid}/pagemap`, 'r')
    try {
      return new GuestMemory(mapping, pages, openSync(`/proc/${pid}/mem`, direction === 'write' ? 'r+' : 'r'))
    } catch (error) {
      closeSync(pages)
      throw error
    }
  }

  /** The pages that are this machine's own: changed since it mapped the file, or written in by `write`. */
  changed(): PageRun[] {
    const collector = new RunCollector()
    const buffer = Buffer.allocUnsafeSlow(entriesAtOnce * bytesPerEntry)
    const total = this.#mapping.bytes / pageBytes
    for (let page = 0; page < total; page += entriesAtOnce) {
      const wanted = Math.min(entriesAtOnce, total - page) * bytesPerEntry
      const at = (this.#mapping.address / pageBytes + page) * bytesPerEntry
      if (readSync(this.#pages, buffer, 0, wanted, at) !== wanted)
        throw new AppError('sandbox_failed', "cannot read the virtual machine's memory: its process ended")
      collector.add(new Uint32Array(buffer.buffer, buffer.byteOffset, wanted / 4))
    }
    return collector.end()
  }

  /** The content of `runs` goes into the buffers, one after the other; together they are as long as it is. */
  async read(runs: readonly PageRun[], buffers: readonly Uint8Array[]): Promise<void> {
    const pieces = this.pieces(runs)
    await transfer(
      this.#memory,
      buffers.flatMap((buffer) => pieces.fill(buffer)),
      'read',
    )
  }

  /** For reading in several steps. */
  pieces(runs: readonly PageRun[]): Pieces {
    return new Pieces(runs, this.#mapping.address)
  }

  async readNext(pieces: Pieces, buffer: Uint8Array): Promise<void> {
    await transfer(this.#memory, pieces.fill(buffer), 'read')
  }

  /** Puts all pages of a set into the memory. Nothing may run in between: the machine has not run yet. */
  async write(pages: PageSet, signal: AbortSignal): Promise<void> {
    const last = pages.runs.at(-1)
    if (last && (last.first + last.count) * pageBytes > this.#mapping.bytes)
      throw new AppError('snapshot_damaged', 'cannot restore: the saved pages do not fit into the memory')
    const places = this.pieces(pages.runs)
    for await (const chunk of pages.chunks()) {
      signal.throwIfAborted()
      const pieces = places.fill(chunk)
      if (pieces.reduce((sum, { bytes }) => sum + bytes, 0) !== chunk.length)
        throw new AppError('snapshot_damaged', 'cannot restore: there are more bytes than pages')
      await transfer(this.#memory, pieces, 'write')
    }
    if (!places.done) throw new AppError('snapshot_damaged', 'cannot restore: the saved pages are incomplete')
  }

  close(): void {
    closeSync(this.#pages)
    closeSync(this.#memory)
  }
}
