/**
 * A program of its own, run in the jail: makes an image's layers, as they came, into plain tars that were looked at (tar-walk.ts) and whose digests are
 * those that the image's config names. Asked by one JSON argument; says on standard output, a line each, how far it is and how it ended.
 */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { PlainBytes } from './plain-bytes.ts'
import { type TarLimits, TarRefused, TarWalk } from './tar-walk.ts'

export interface LayersQuestion extends TarLimits {
  readonly layers: readonly { readonly from: string; readonly to: string; readonly diffId: string }[]
}

export type LayersAnswer =
  | { readonly doneBytes: number }
  /** Bytes of each tar, of their content, and of what that takes of the disk. */
  | { readonly sizes: readonly number[]; readonly bytes: number; readonly diskBytes: number; readonly entries: number }
  | { readonly refused: TarRefused['kind'] | 'digest'; readonly why: string }

const sayEvery = 8 << 20

async function main(question: LayersQuestion): Promise<void> {
  const { layers, ...limits } = question
  const walk = new TarWalk(limits)
  const total = new PlainBytes(limits.maxBytes)
  const sizes: number[] = []
  let before = 0
  for (const { from, to, diffId } of layers) {
    const made = await layer(from, to, walk, total, before)
    if (made.diffId !== diffId) return say({ refused: 'digest', why: 'a layer is not the one that its config names' })
    sizes.push(made.size)
    before += made.read
  }
  const { bytes, diskBytes, entries } = walk
  say({ sizes, bytes, diskBytes, entries })
}

async function layer(from: string, to: string, walk: TarWalk, total: PlainBytes, before: number) {
  const hash = createHash('sha256')
  let size = 0
  let read = 0
  let said = 0
  const look = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        size += chunk.length
        walk.push(chunk)
        total.add(chunk.length, walk.entries)
        hash.update(chunk)
        done(null, chunk)
      } catch (error) {
        done(error as Error)
      }
    },
  })
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      read += chunk.length
      if (read - said >= sayEvery) {
        said = read
        say({ doneBytes: before + read })
      }
      done(null, chunk)
    },
  })
  const source = createReadStream(from, { highWaterMark: 1 << 20 })
  await using output = await open(to, 'w')
  const target = output.createWriteStream({ highWaterMark: 1 << 20 })
  const plain = await decompressor(from)
  await (plain ? pipeline(source, count, plain, look, target) : pipeline(source, count, look, target))
  walk.end()
  return { size, read, diffId: `sha256:${hash.digest('hex')}` }
}

/** By the first bytes: what a manifest calls its layers is not to be relied on. */
async function decompressor(file: string): Promise<Transform | undefined> {
  await using handle = await open(file)
  const start = Buffer.alloc(6)
  await handle.read(start, 0, start.length, 0)
  const hex = start.toString('hex')
  const options = { chunkSize: 1 << 20 }
  if (hex.startsWith('1f8b')) return createGunzip(options)
  if (hex.startsWith('28b52ffd')) return createZstdDecompress(options)
  if (hex.startsWith('425a68') || hex === 'fd377a585a00')
    throw new TarRefused('damaged', 'a layer is compressed in another way than gzip or zstd')
  return undefined
}

function say(answer: LayersAnswer): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}

try {
  await main(JSON.parse(process.argv[2] ?? '') as LayersQuestion)
} catch (error) {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (error instanceof TarRefused) say({ refused: error.kind, why: error.message })
  else if (code.startsWith('Z_') || code.startsWith('ZSTD_') || code === 'ERR_ZLIB')
    say({ refused: 'damaged', why: 'a layer is broken: it does not decompress' })
  else if (code === 'ENOSPC') say({ refused: 'no-space', why: 'the disk is full' })
  else throw error
}
