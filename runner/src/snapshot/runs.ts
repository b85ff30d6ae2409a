/** The runs of changed pages as a file: pairs of numbers, first page and count, 32 bits each, little end first. */

import { type PageRun, pageBytes, totalPages } from '../memory/page-set.ts'
import { damaged } from './manifest.ts'

const pairBytes = 8

export function encodeRuns(runs: readonly PageRun[]): Buffer {
  const bytes = Buffer.alloc(runs.length * pairBytes)
  runs.forEach(({ first, count }, index) => {
    bytes.writeUInt32LE(first, index * pairBytes)
    bytes.writeUInt32LE(count, index * pairBytes + 4)
  })
  return bytes
}

/** Refuses runs that are out of order, touch each other, leave the memory, or do not add up to the content. */
export function decodeRuns(bytes: Buffer, memoryMib: number, contentBytes: number): PageRun[] {
  if (bytes.length % pairBytes !== 0) throw damaged('its list of pages is cut off')
  const limit = (memoryMib * 2 ** 20) / pageBytes
  const runs: PageRun[] = []
  let end = -1
  for (let at = 0; at < bytes.length; at += pairBytes) {
    const run = { first: bytes.readUInt32LE(at), count: bytes.readUInt32LE(at + 4) }
    if (run.first <= end || run.count === 0 || run.first + run.count > limit)
      throw damaged('its list of pages makes no sense')
    end = run.first + run.count
    runs.push(run)
  }
  if (totalPages(runs) * pageBytes !== contentBytes) throw damaged('its list of pages does not match their content')
  return runs
}
