/** Which parts of a sparse file hold anything: the file system is asked, as reading a hole costs as much as reading data. */

import { stat } from 'node:fs/promises'
import { run } from '../process/run.ts'

export interface Extent {
  readonly from: number
  /** Exclusive. */
  readonly to: number
}

/** Asking takes some milliseconds. */
const worthAskingBytes = 64 * 2 ** 20
const limitMs = 10_000
const maxOutputBytes = 16 * 2 ** 20

/** In ascending order. Undefined where it is not worth asking, or nobody knows: then all of the file may hold something. */
export async function dataExtents(file: string, signal?: AbortSignal): Promise<Extent[] | undefined> {
  const { size, blocks } = await stat(file)
  if (size < worthAskingBytes || blocks * 512 > size * 0.75) return undefined
  const options = { limitMs, maxOutputBytes, ...(signal ? { signal } : {}) }
  const { code, stdout } = await run('filefrag', ['-s', '-v', '-b1', file], options).catch(() => ({
    code: -1,
    stdout: '',
  }))
  return code === 0 ? parseExtents(stdout) : undefined
}

const line = /^\s*\d+:\s*(\d+)\.\.\s*(\d+):\s*\d+\.\.\s*\d+:\s*\d+:/

/** Of `filefrag -v -b1`: logical offsets in bytes, the last one inclusive. */
export function parseExtents(text: string): Extent[] | undefined {
  if (!/\bextents? found\b/.test(text)) return undefined
  return text.split('\n').flatMap((one) => {
    const [, from, last] = line.exec(one) ?? []
    return from === undefined ? [] : [{ from: Number(from), to: Number(last) + 1 }]
  })
}

/** Whether any extent reaches into the range. */
export function holdsData(extents: readonly Extent[] | undefined, from: number, to: number): boolean {
  return extents === undefined || extents.some((extent) => extent.from < to && extent.to > from)
}
