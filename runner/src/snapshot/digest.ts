/**
 * The digest of everything that is saved: SHA-256 over the SHA-256 of each 4 MiB chunk, so that the chunks of one file are hashed side by side, off the
 * main thread, while they are written or read.
 */

import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { dataExtents, holdsData } from './extents.ts'

export const chunkBytes = 4 * 2 ** 20

/** Takes a file's chunks in order; each must have `chunkBytes`, only the last may be shorter. */
export class TreeDigest {
  readonly #chunks: Promise<ArrayBuffer>[] = []
  #open = true

  /** Resolves when `chunk`'s memory may be used again. */
  async add(chunk: Uint8Array): Promise<void> {
    if (!this.#open || chunk.length > chunkBytes || chunk.length === 0) throw new Error('a chunk of the wrong size')
    this.#open = chunk.length === chunkBytes
    const hashed = isZero(chunk) ? zeroChunk() : crypto.subtle.digest('SHA-256', chunk as Uint8Array<ArrayBuffer>)
    this.#chunks.push(hashed)
    await hashed
  }

  /** In hexadecimal. */
  async end(): Promise<string> {
    const whole = createHash('sha256')
    for (const chunk of await Promise.all(this.#chunks)) whole.update(new Uint8Array(chunk))
    return whole.digest('hex')
  }
}

/** The digest of a file as it is now. Holes are not read. */
export async function fileDigest(file: string, signal?: AbortSignal): Promise<string> {
  const extents = await dataExtents(file, signal)
  const handle = await open(file, 'r')
  try {
    const { size } = await handle.stat()
    const digest = new TreeDigest()
    const buffers = [Buffer.allocUnsafe(chunkBytes), Buffer.allocUnsafe(chunkBytes)] as const
    let under: Promise<void> = Promise.resolve()
    for (let at = 0, turn = 0; at < size; at += chunkBytes, turn ^= 1) {
      signal?.throwIfAborted()
      const bytes = Math.min(chunkBytes, size - at)
      const hole = bytes === chunkBytes && !holdsData(extents, at, at + bytes)
      const chunk = hole ? zeros : (buffers[turn] as Buffer).subarray(0, bytes)
      if (!hole) await readWhole(handle, chunk, at)
      await under
      under = digest.add(chunk)
    }
    await under
    return await digest.end()
  } finally {
    await handle.close()
  }
}

async function readWhole(handle: FileHandle, buffer: Buffer, position: number): Promise<void> {
  for (let filled = 0; filled < buffer.length; ) {
    const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, position + filled)
    if (bytesRead === 0) throw new Error('the file became shorter')
    filled += bytesRead
  }
}

const zeros = Buffer.alloc(chunkBytes)
let hashOfZeros: Promise<ArrayBuffer> | undefined

/** Guest memory is mostly empty, and comparing is ten times quicker than hashing. */
function isZero(chunk: Uint8Array): boolean {
  return chunk === zeros || (chunk.length === chunkBytes && zeros.equals(chunk))
}

function zeroChunk(): Promise<ArrayBuffer> {
  hashOfZeros ??= crypto.subtle.digest('SHA-256', zeros)
  return hashOfZeros
}
