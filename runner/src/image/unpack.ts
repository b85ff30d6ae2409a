/**
 * From what was fetched to the file that machines boot from, in three programs, each in its jail without network:
 *
 *   download/ ──open-layers.ts──▶ oci/ (plain tars, looked at) ──umoci──▶ rootfs/ ──mkfs.erofs──▶ image.erofs
 *
 * What is not needed any more goes after each, so that the disk holds an image twice at most. What was looked at is not trusted either: no file may be
 * larger than the whole content was found to be, and the disk is watched.
 */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { lacksFileCapabilities, workFolder } from './confined.ts'
import { freeRoom, removeTree } from './disk.ts'
import { unsuitable } from './manifest.ts'
import { failure, hexOf, inJail, noSpace, type StepOptions, stepLimitMs } from './step.ts'
import { watchGrowth } from './watch.ts'

/** A file system's file: what it is called by, and how large it is. */
export interface MadeFile {
  readonly sizeBytes: number
  /** SHA-256 of all of it. */
  readonly fileDigest: string
}

/** For two million files and folders. */
const memoryBytes = 4 * 2 ** 30
/** Of what a program writes beside content. */
const smallFile = 1 << 20

/** Unpacks the tars into `rootfs`, each layer on top of the one before. `bytes` is their content; `keptBytes` stay free on the disk. */
export async function unpackLayers(options: StepOptions, bytes: number, keptBytes: number): Promise<void> {
  const { folder, tools, what, signal } = options
  const rootless = process.getuid?.() === 0 ? [] : ['--rootless']
  const image = ['--image', `${workFolder}/oci:image`, `${workFolder}/rootfs`]
  const free = async () => (await freeRoom(folder)).bytes
  const before = await free()
  await using watch = watchGrowth({
    signal,
    measure: async () => before - (await free()),
    onBytes: () => undefined,
    maxBytes: before - keptBytes,
    tooMuch: () => noSpace(what, 'the disk is full'),
    stallMs: stepLimitMs,
    stalled: () => new AppError('internal', `cannot pull ${what}: its layers are not unpacked in time`),
  })
  const { code, stderr } = await inJail(
    { ...options, signal: watch.signal },
    [tools.umoci, 'raw', 'unpack', ...rootless, ...image],
    { files: true, limits: { fileBytes: bytes + smallFile, memoryBytes } },
  )
  if (code !== 0) throw umociError(stderr, what)
  await removeTree(join(folder, 'oci'))
}

/** Makes the file. The same layers give a file system of the same identity, whoever makes it, but not the same bytes: it says when it was made. */
export async function makeErofs(options: StepOptions, rootfs: string, total: number): Promise<MadeFile> {
  const { folder, tools, what, onBytes, signal } = options
  const file = join(folder, 'image.erofs')
  const owner = process.getuid?.() === 0 ? [] : ['--all-root']
  const program = [
    tools.mkfs,
    '--quiet',
    ...owner,
    '-U',
    uuidOf(rootfs),
    `${workFolder}/image.erofs`,
    `${workFolder}/rootfs`,
  ]
  await using watch = watchGrowth({
    signal,
    measure: async () => await sizeOfFile(file),
    onBytes: (bytes) => onBytes(bytes, total),
    maxBytes: Number.MAX_SAFE_INTEGER,
    tooMuch: () => unsuitable(what, 'it is too large'),
    stallMs: stepLimitMs,
    stalled: () => new AppError('internal', `cannot pull ${what}: its file system is not made in time`),
  })
  const jailed = { ...options, signal: watch.signal }
  const { code, stderr } = await inJail(jailed, program, { files: true, limits: { memoryBytes } })
  if (code !== 0) throw failure('make its file system', what, stderr)
  await removeTree(join(folder, 'rootfs'))
  await using handle = await open(file, 'r')
  await handle.sync()
  return { sizeBytes: (await handle.stat()).size, fileDigest: await fileDigest(file, signal) }
}

async function fileDigest(file: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const bytes of createReadStream(file, { highWaterMark: 1 << 20, signal })) hash.update(bytes as Uint8Array)
  return `sha256:${hash.digest('hex')}`
}

/** What umoci says of layers that a tar's headers do not betray. */
function umociError(stderr: string, what: string): AppError {
  if (/no space left on device|disk quota exceeded/i.test(stderr)) return noSpace(what, 'the disk is full')
  const forbidden = /not permitted/.test(stderr) && lacksFileCapabilities()
  if (forbidden || /bwrap: |execvp|exec:.*not found/.test(stderr)) return failure('unpack its layers', what, stderr)
  return new AppError('image_unsuitable', `cannot pull ${what}: a layer of it cannot be unpacked`, {
    cause: stderr.trim().slice(-1000),
  })
}

async function sizeOfFile(file: string): Promise<number> {
  await using handle = await open(file, 'r')
  // The file gets its length at once and its content bit by bit.
  return (await handle.stat()).blocks * 512
}

function uuidOf(digest: string): string {
  const hex = hexOf(digest)
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  )
}
