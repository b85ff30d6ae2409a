/**
 * Copies of a machine's changed pages, taken while it stands still: into this process, which is quickest and for what is used at once, or into a file,
 * for what is kept. The file's digest is computed on the way.
 */

import { type FileHandle, open, rm } from 'node:fs/promises'
import { chunkBytes, TreeDigest } from '../snapshot/digest.ts'
import type { GuestMemory } from './guest-memory.ts'
import { type PageRun, type PageSet, pageBytes, totalPages } from './page-set.ts'

/**
 * Room for a copy, made while the machine still runs: the first touch of new memory costs as much as the copy itself. It is a guess, as pages may change
 * until the machine stands still.
 */
export class CopyRoom {
  readonly #chunks: Buffer[] = []

  constructor(memory: GuestMemory) {
    const bytes = totalPages(memory.changed()) * pageBytes
    for (let left = bytes + bytes / 16; left > 0; left -= chunkBytes) this.#chunks.push(Buffer.alloc(chunkBytes, 1))
  }

  /** Buffers for so many bytes in all. */
  take(bytes: number): Buffer[] {
    const taken: Buffer[] = []
    for (let left = bytes; left > 0; left -= chunkBytes) {
      const chunk = this.#chunks.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)
      taken.push(left < chunkBytes ? chunk.subarray(0, left) : chunk)
    }
    return taken
  }
}

/** The machine stands still until this resolves. */
export async function copyToMemory(memory: GuestMemory, room: CopyRoom): Promise<PageSet> {
  const runs = memory.changed()
  const bytes = totalPages(runs) * pageBytes
  const buffers = room.take(bytes)
  await memory.read(runs, buffers)
  return {
    runs,
    bytes,
    async *chunks() {
      yield* buffers
    },
  }
}

/** How many chunks may be read and not yet written. */
const ahead = 4

/** The file is new, and gone again if this rejects. While one chunk is written and hashed the next is read. */
export async function copyToFile(memory: GuestMemory, file: string, signal: AbortSignal): Promise<PageSet> {
  const runs = memory.changed()
  const bytes = totalPages(runs) * pageBytes
  const handle = await open(file, 'wx', 0o600)
  try {
    const sha256 = await copyChunks(memory, runs, handle, signal)
    return { runs, bytes, file: { file, bytes, sha256 }, chunks: () => chunksOf(file, bytes) }
  } catch (error) {
    await rm(file, { force: true })
    throw error
  } finally {
    await handle.close()
  }
}

async function copyChunks(
  memory: GuestMemory,
  runs: readonly PageRun[],
  handle: FileHandle,
  signal: AbortSignal,
): Promise<string> {
  const bytes = totalPages(runs) * pageBytes
  const digest = new TreeDigest()
  const pieces = memory.pieces(runs)
  const buffers = Array.from({ length: ahead }, () => Buffer.allocUnsafeSlow(Math.min(bytes, chunkBytes)))
  const busy: Promise<unknown>[] = buffers.map(() => Promise.resolve())
  try {
    for (let at = 0, turn = 0; at < bytes; at += chunkBytes, turn = (turn + 1) % ahead) {
      signal.throwIfAborted()
      await busy[turn]
      const chunk = (buffers[turn] as Buffer).subarray(0, Math.min(chunkBytes, bytes - at))
      await memory.readNext(pieces, chunk)
      busy[turn] = Promise.all([writeAll(handle, chunk, at), digest.add(chunk)])
      busy[turn]?.catch(() => undefined)
    }
  } finally {
    await Promise.allSettled(busy)
  }
  await Promise.all(busy)
  return await digest.end()
}

async function writeAll(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; )
    done += (await handle.write(chunk, done, chunk.length - done, position + done)).bytesWritten
}

/** The content of a file of `bytes` bytes in chunks, each with memory of its own; the next one is read while the last is used. */
export async function* chunksOf(file: string, bytes: number): AsyncGenerator<Uint8Array> {
  const handle = await open(file, 'r')
  let next: Promise<Uint8Array> | undefined
  try {
    next = bytes > 0 ? readChunk(handle, 0, bytes) : undefined
    for (let at = 0; next; ) {
      const chunk = await next
      at += chunk.length
      next = at < bytes ? readChunk(handle, at, bytes) : undefined
      next?.catch(() => undefined)
      yield chunk
    }
  } finally {
    await next?.catch(() => undefined)
    await handle.close()
  }
}

async function readChunk(handle: FileHandle, at: number, bytes: number): Promise<Uint8Array> {
  const chunk = Buffer.allocUnsafeSlow(Math.min(chunkBytes, bytes - at))
  for (let filled = 0; filled < chunk.length; ) {
    const { bytesRead } = await handle.read(chunk, filled, chunk.length - filled, at + filled)
    if (bytesRead === 0) throw Object.assign(new Error('the file is too short'), { code: 'ESHORT' })
    filled += bytesRead
  }
  return chunk
}
