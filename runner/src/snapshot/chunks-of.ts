/** The content of a file in chunks, read ahead. */

import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { type Chunk, chunkBytes, giveChunk, takeChunk } from './chunk.ts'
import { openDirect } from './direct.ts'

/** Chunks that are read before somebody asks for them. */
const ahead = 8

export interface ChunksOptions {
  /** Of the file, from its start: whole pages. */
  readonly bytes: number
  /** Where the file has less: throws. */
  readonly onShort: () => never
  /** Somebody else reads along: a chunk is in use until both have done with it. */
  readonly also?: (chunk: Chunk) => Promise<unknown>
}

/** A chunk's memory is the reader's until it asks for the next one. */
export async function* chunksOf(file: string, { bytes, onShort, also }: ChunksOptions): AsyncGenerator<Chunk> {
  const handle = await openDirect(file, constants.O_RDONLY)
  const coming: Promise<Chunk>[] = []
  try {
    let at = 0
    const readOn = () => {
      if (at >= bytes) return
      const chunk = takeChunk().subarray(0, Math.min(chunkBytes, bytes - at))
      const reading = readWhole(handle, chunk, at, onShort)
      reading.catch(() => undefined)
      coming.push(reading)
      at += chunk.length
    }
    for (let turn = 0; turn < ahead; turn++) readOn()
    for (let next = coming.shift(); next; next = coming.shift()) {
      const chunk = await next
      readOn()
      const read = also?.(chunk).catch(() => undefined)
      yield chunk
      if (read !== undefined) void read.then(() => giveChunk(chunk))
      else giveChunk(chunk)
    }
  } finally {
    for (const left of await Promise.allSettled(coming)) if (left.status === 'fulfilled') giveChunk(left.value)
    await handle.close()
  }
}

/** Fills `chunk` with what stands at `position`. */
export async function readWhole(
  handle: FileHandle,
  chunk: Chunk,
  position: number,
  onShort: () => never,
): Promise<Chunk> {
  for (let filled = 0; filled < chunk.length; ) {
    const { bytesRead } = await handle.read(chunk, filled, chunk.length - filled, position + filled)
    if (bytesRead === 0) onShort()
    filled += bytesRead
  }
  return chunk
}
