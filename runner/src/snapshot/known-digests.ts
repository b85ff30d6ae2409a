/**
 * Digests of files that nobody writes any more, computed once per file and process: the memory and disk that many machines share are hundreds of MiB.
 * A file is known by its inode, so its other links are, too; one that was written to meanwhile is another file.
 */

import { stat } from 'node:fs/promises'
import { fileDigest } from './digest.ts'

/** Files on this host are removed and made for as long as the process lives. */
const maxKnown = 512

const known = new Map<string, Promise<string>>()

/** The digest of the file, from memory if it is the same as when it was computed. */
export async function knownDigest(file: string): Promise<string> {
  const { dev, ino, size, mtimeNs } = await stat(file, { bigint: true })
  const key = [dev, ino, size, mtimeNs].join(':')
  // Not the caller's signal: others may wait for the same file.
  const digest = known.get(key) ?? fileDigest(file)
  known.delete(key)
  known.set(key, digest)
  digest.catch(() => known.delete(key))
  const [oldest] = known.keys()
  if (known.size > maxKnown && oldest !== undefined) known.delete(oldest)
  return await digest
}
