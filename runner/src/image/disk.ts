/** Room on the disk that images lie on, and making it. */

import { statfs } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { run } from '../process/run.ts'

const removeLimitMs = 30 * 60_000

/** What is free for this runner on the disk of a folder; some file systems do not count inodes. */
export async function freeRoom(folder: string): Promise<{ readonly bytes: number; readonly inodes: number }> {
  const { bavail, bsize, files, ffree } = await statfs(folder)
  return { bytes: bavail * bsize, inodes: files > 0 ? ffree : Number.MAX_SAFE_INTEGER }
}

/** Removes a folder whose names may be in no encoding at all: Node reads names as UTF-8. */
export async function removeTree(path: string): Promise<void> {
  const options = { limitMs: removeLimitMs }
  const remove = async () => await run('rm', ['-rf', '--one-file-system', '--', path], options)
  if ((await remove()).code === 0) return
  // Without root, a folder that its owner may not write keeps its content.
  await run('chmod', ['-R', 'u+rwX', '--', path], options)
  const { code, stderr } = await remove()
  if (code !== 0)
    throw new AppError('internal', `cannot remove ${basename(dirname(path))}`, { cause: stderr.slice(-1000) })
}
