/** One download of 100 MB by curl. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Way } from './way.ts'

const size = 100_000_000
const limitSeconds = 60

/** Megabytes a second, from the request to the last byte; throws unless all of them came. */
export async function download({ target, download: path }: Way): Promise<number> {
  const host = target.host === undefined ? [] : ['--header', `host: ${target.host}`]
  const args = ['--silent', '--show-error', '--fail', '--noproxy', '*', '--max-time', String(limitSeconds), ...host]
  const wanted = ['--output', '/dev/null', '--write-out', '%{size_download} %{time_total}', target.url + path]
  const { stdout } = await promisify(execFile)('curl', [...args, ...wanted])
  const [bytes = 0, seconds = 0] = stdout.split(' ').map(Number)
  if (bytes !== size) throw new Error(`cannot measure: ${bytes} of ${size} bytes came`)
  return bytes / seconds / 1e6
}
