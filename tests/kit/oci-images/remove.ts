/** Removes a folder whose names may be in no encoding. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

export async function removeFolder(path: string): Promise<void> {
  await promisify(execFile)('rm', ['-rf', '--one-file-system', '--', path])
}
