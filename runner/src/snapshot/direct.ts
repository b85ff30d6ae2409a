/**
 * Files that are written and read past the host's page cache: saved memory is large, rarely read twice, and would push out what all machines share; and new
 * page cache costs more than the copy. Only whole pages at aligned addresses can be moved so, which chunks are.
 */

import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

/** `O_DIRECT` of Linux on x86; undefined elsewhere. */
const direct: number | undefined = constants.O_DIRECT

/** As `open`, past the page cache where the file system can. */
export async function openDirect(file: string, flags: number, mode?: number): Promise<FileHandle> {
  if (direct === undefined) return await open(file, flags, mode)
  try {
    return await open(file, flags | direct, mode)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
    // The file was made before the refusal.
    return await open(file, flags & ~constants.O_EXCL, mode)
  }
}
