/**
 * The digest of everything that is saved: SHA-256 over the SHA-256 of each 4 MiB chunk, so that the chunks of one file are hashed off the main thread,
 * while they are written or read.
 */

import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { type Chunk, chunkBytes, giveChunk, takeChunk } from './chunk.ts'
import { readWhole } from './chunks-of.ts'
import { dataExtents, holdsData } from './extents.ts'
import { hashShared } from './hash-thread.ts'

/** Takes a file's chunks in order; each must have `chunkBytes`, only the last may be shorter. */
export class TreeDigest {
  readonly #chunks: Promise<Uint8Array>[] = []
  #open = true

  /** Resolves when `chunk`'s memory may be used again. */
  async add(chunk: Uint8Array): Promise<void> {
    if (!this.#open || chunk.length > chunkBytes || chunk.length === 0) throw new Error('a chunk of the wrong size')
    this.#open = chunk.length === chunkBytes
    const hashed = isZero(chunk) ? zeroChunk() : hash(chunk)
    this.#chunks.push(hashed)
    await hashed
  }

  /** For a chunk of zeros that nobody has read. */
  async addHole(): Promise<void> {
    await this.add(zeros)
  }

  /** In hexadecimal. */
  async end(): Promise<string> {
    const whole = createHash('sha256')
    for (const chunk of await Promise.all(this.#chunks)) whole.update(chunk)
    return whole.digest('hex')
  }
}

/** The digest of a file as it is now. Holes are not read. */
export async function fileDigest(file: string, signal?: AbortSignal): Promise<string> {
  const extents = await dataExtents(file, signal)
  const handle = await open(file, 'r')
  const chunks = [takeChunk(), takeChunk()] as const
  let under: Promise<void> = Promise.resolve()
  try {
    const { size } = await handle.stat()
    const digest = new TreeDigest()
    for (let at = 0, turn = 0; at < size; at += chunkBytes, turn ^= 1) {
      signal?.throwIfAborted()
      const bytes = Math.min(chunkBytes, size - at)
      const hole = bytes === chunkBytes && !holdsData(extents, at, at + bytes)
      const chunk = (chunks[turn] as Chunk).subarray(0, bytes)
      if (!hole) await readWhole(handle, chunk, at, becameShorter)
      await under
      under = hole ? digest.addHole() : digest.add(chunk)
    }
    await under
    return await digest.end()
  } finally {
    await under.catch(() => undefined)
    for (const chunk of chunks) giveChunk(chunk)
    await handle.close()
  }
}

function becameShorter(): never {
  throw new Error('the file became shorter')
}

async function hash(chunk: Uint8Array): Promise<Uint8Array> {
  if (isShared(chunk)) return await hashShared(chunk)
  return createHash('sha256').update(chunk).digest()
}

function isShared(chunk: Uint8Array): chunk is Chunk {
  return chunk.buffer instanceof SharedArrayBuffer
}

const zeros = Buffer.alloc(chunkBytes)
let hashOfZeros: Promise<Uint8Array> | undefined

/** Guest memory is mostly empty, and comparing is ten times quicker than hashing. */
function isZero(chunk: Uint8Array): boolean {
  return chunk === zeros || (chunk.length === chunkBytes && zeros.equals(chunk))
}

function zeroChunk(): Promise<Uint8Array> {
  hashOfZeros ??= hash(zeros)
  return hashOfZeros
}
