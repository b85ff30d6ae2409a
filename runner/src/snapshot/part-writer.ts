/** Writes one part of what is saved: chunk after chunk is written and hashed side by side, and goes to the disk while the next ones are made. */

import type { FileHandle } from 'node:fs/promises'
import { TreeDigest } from './digest.ts'
import type { Part } from './manifest.ts'

/** So much at a time is forced to the disk. */
const syncBytes = 16 * 2 ** 20

export class PartWriter {
  readonly #handle: FileHandle
  readonly #digest = new TreeDigest()
  readonly #added: Promise<unknown>[] = []
  #bytes = 0
  #unsynced = 0
  #syncing: Promise<void> | undefined

  /** The file is empty and stays the caller's. */
  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  /** The next chunk, of `chunkBytes` unless it is the last. Resolves when its memory may be used again; many may be under way. */
  add(chunk: Uint8Array): Promise<void> {
    const at = this.#bytes
    this.#bytes += chunk.length
    const added = Promise.all([this.#write(chunk, at), this.#digest.add(chunk)]).then(() => undefined)
    added.catch(() => undefined)
    this.#added.push(added)
    return added
  }

  /** Resolves when all of it is on the disk. */
  async end(): Promise<Part> {
    await Promise.all(this.#added)
    await this.#syncing
    await this.#handle.datasync()
    return { bytes: this.#bytes, sha256: await this.#digest.end() }
  }

  /** Resolves when nothing is under way any more. */
  async settle(): Promise<void> {
    await Promise.allSettled([...this.#added, this.#syncing])
  }

  async #write(chunk: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.#handle.write(chunk, done, chunk.length - done, position + done)
      done += bytesWritten
    }
    this.#unsynced += chunk.length
    if (this.#syncing !== undefined || this.#unsynced < syncBytes) return
    this.#unsynced = 0
    // A failure shows again at the end.
    this.#syncing = this.#handle
      .datasync()
      .catch(() => undefined)
      .finally(() => {
        this.#syncing = undefined
      })
  }
}
