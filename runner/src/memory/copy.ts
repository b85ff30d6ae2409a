/**
 * Copies of a machine's changed pages, taken while it stands still: into this process, which is quickest and for what is used at once, or into a file,
 * for what is kept. The file's digest is computed on the way.
 */

import { constants } from 'node:fs'
import { type FileHandle, rm } from 'node:fs/promises'
import { AppError } from '@portico/shared/errors'
import { type Chunk, chunkBytes, giveChunk, takeChunk } from '../snapshot/chunk.ts'
import { chunksOf } from '../snapshot/chunks-of.ts'
import { openDirect } from '../snapshot/direct.ts'
import { PartWriter } from '../snapshot/part-writer.ts'
import type { GuestMemory } from './guest-memory.ts'
import { type PageRun, type PageSet, pageBytes, totalPages } from './page-set.ts'

/**
 * Room for a copy, made while the machine still runs: the first touch of new memory costs more than the copy itself. It is a guess, as pages may change
 * until the machine stands still.
 */
export class CopyRoom {
  readonly #chunks: Chunk[] = []

  constructor(memory: GuestMemory) {
    const bytes = totalPages(memory.changed()) * pageBytes
    for (let left = bytes + bytes / 16; left > 0; left -= chunkBytes) this.#chunks.push(takeChunk())
  }

  /** Chunks for so many bytes in all; what is left over is given back. */
  take(bytes: number): Chunk[] {
    const taken: Chunk[] = []
    for (let left = bytes; left > 0; left -= chunkBytes) {
      const chunk = this.#chunks.pop() ?? takeChunk()
      taken.push(left < chunkBytes ? chunk.subarray(0, left) : chunk)
    }
    this.giveBack()
    return taken
  }

  /** Safe to repeat. */
  giveBack(): void {
    for (const chunk of this.#chunks.splice(0)) giveChunk(chunk)
  }
}

/** The machine stands still until this resolves. */
export async function copyToMemory(memory: GuestMemory, room: CopyRoom): Promise<PageSet> {
  const runs = memory.changed()
  const bytes = totalPages(runs) * pageBytes
  const chunks = room.take(bytes)
  await memory.read(runs, chunks)
  return {
    runs,
    bytes,
    inMemory: true,
    async *chunks() {
      yield* chunks
    },
    release() {
      for (const chunk of chunks.splice(0)) giveChunk(chunk)
    },
  }
}

/** How many chunks may be read and not yet written. */
const ahead = 4

/** The file is new, and gone again if this rejects. While one chunk is written and hashed the next is read. */
export async function copyToFile(memory: GuestMemory, file: string, signal: AbortSignal): Promise<PageSet> {
  const runs = memory.changed()
  const handle = await openDirect(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
  try {
    const { bytes, sha256 } = await copyChunks(memory, runs, handle, signal)
    const chunks = () => chunksOf(file, { bytes, onShort: tooShort })
    return { runs, bytes, file: { file, bytes, sha256 }, chunks, release: () => undefined }
  } catch (error) {
    await rm(file, { force: true })
    throw error
  } finally {
    await handle.close()
  }
}

async function copyChunks(memory: GuestMemory, runs: readonly PageRun[], handle: FileHandle, signal: AbortSignal) {
  const bytes = totalPages(runs) * pageBytes
  const pieces = memory.pieces(runs)
  const chunks = Array.from({ length: ahead }, takeChunk)
  const busy: Promise<void>[] = chunks.map(() => Promise.resolve())
  const writer = new PartWriter(handle)
  try {
    for (let at = 0, turn = 0; at < bytes; at += chunkBytes, turn = (turn + 1) % ahead) {
      signal.throwIfAborted()
      await busy[turn]
      const chunk = (chunks[turn] as Chunk).subarray(0, Math.min(chunkBytes, bytes - at))
      await memory.readNext(pieces, chunk)
      busy[turn] = writer.add(chunk)
    }
    return await writer.end()
  } finally {
    await writer.settle()
    for (const chunk of chunks) giveChunk(chunk)
  }
}

function tooShort(): never {
  throw new AppError('snapshot_damaged', 'cannot restore: the saved pages are incomplete')
}
