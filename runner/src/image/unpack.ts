/**
 * From what was fetched to the file that machines boot from, in three programs, each in its jail without network:
 *
 *   download/ ──layers.ts──▶ oci/ (plain tars, looked at) ──umoci──▶ rootfs/ ──mkfs.erofs──▶ image.erofs
 *
 * What is not needed any more goes after each, so that the disk holds an image twice at most.
 */

import { mkdir, open, statfs, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { run } from '../process/run.ts'
import { type ConfinedOptions, confinedArguments, lacksFileCapabilities, workFolder } from './confined.ts'
import type { LayersAnswer, LayersQuestion } from './layers.ts'
import { digestOf, type Manifest, unsuitable } from './manifest.ts'
import type { ImageTools } from './tools.ts'
import { watchGrowth } from './watch.ts'

export interface UnpackOptions {
  readonly tools: ImageTools
  /** As it stands in messages. */
  readonly what: string
  readonly folder: string
  readonly signal: AbortSignal
  readonly onBytes: (done: number, total: number) => void
}

/** What an image may be, unpacked, and what the disk has room for. */
export interface LayerLimits {
  readonly imageBytes: number
  readonly diskBytes: number
}

const unpackLimitMs = 30 * 60_000
const maxEntries = 2_000_000

/** Makes plain tars of the layers and resolves with the bytes that the image will take. */
export async function openLayers(
  options: UnpackOptions,
  manifest: Manifest,
  diffIds: readonly string[],
  limits: LayerLimits,
): Promise<number> {
  const { folder, what, onBytes } = options
  const blobs = join(folder, 'oci', 'blobs', 'sha256')
  await mkdir(blobs, { recursive: true })
  const question: LayersQuestion = {
    maxBytes: Math.min(limits.imageBytes, limits.diskBytes),
    maxEntries,
    layers: manifest.layers.map(({ digest }, at) => ({
      from: `${workFolder}/download/${hexOf(digest)}`,
      to: `${workFolder}/oci/blobs/sha256/${hexOf(diffIds[at] ?? '')}`,
      diffId: diffIds[at] ?? '',
    })),
  }
  const lines = new Lines((line) => {
    const answer = JSON.parse(line) as LayersAnswer
    if ('doneBytes' in answer) onBytes(answer.doneBytes, manifest.bytes)
    else last = answer
  })
  let last: LayersAnswer | undefined
  const program = ['/node', '--no-warnings', '/program/layers.ts', JSON.stringify(question)]
  const ended = await inJail(options, program, {
    readOnly: {
      '/node': process.execPath,
      '/program/layers.ts': join(import.meta.dirname, 'layers.ts'),
      '/program/tar-walk.ts': join(import.meta.dirname, 'tar-walk.ts'),
    },
    onStdout: (text) => lines.push(text),
  })
  if (last && 'refused' in last) throw refusal(last, what, limits)
  if (ended.code !== 0 || !last || !('sizes' in last)) throw failure('read its layers', what, ended.stderr)
  await writeLayout(join(folder, 'oci'), diffIds, last.sizes)
  await removeTree(join(folder, 'download'))
  return last.bytes
}

/** Unpacks the tars into `rootfs`, each layer on top of the one before. */
export async function unpackLayers(options: UnpackOptions): Promise<void> {
  const { folder, tools, what } = options
  const rootless = process.getuid?.() === 0 ? [] : ['--rootless']
  const program = [
    tools.umoci,
    'raw',
    'unpack',
    ...rootless,
    '--image',
    `${workFolder}/oci:image`,
    `${workFolder}/rootfs`,
  ]
  const { code, stderr } = await inJail(options, program, { files: true })
  if (code !== 0) throw umociError(stderr, what)
  await removeTree(join(folder, 'oci'))
}

/** Makes the file and resolves with its size. The same layers give the same identity, whoever makes it. */
export async function makeErofs(options: UnpackOptions, rootfs: string, total: number): Promise<number> {
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
    stallMs: unpackLimitMs,
    stalled: () => new AppError('internal', `cannot pull ${what}: its file system is not made in time`),
  })
  const { code, stderr } = await inJail({ ...options, signal: watch.signal }, program, { files: true })
  if (code !== 0) throw failure('make its file system', what, stderr)
  await removeTree(join(folder, 'rootfs'))
  await using handle = await open(file, 'r')
  await handle.sync()
  return (await handle.stat()).size
}

/** Bytes that are free for this runner on the disk of a folder. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

/** Removes a folder whose names may be in no encoding at all: Node reads names as UTF-8. */
export async function removeTree(path: string): Promise<void> {
  const options = { limitMs: unpackLimitMs }
  const remove = async () => await run('rm', ['-rf', '--one-file-system', '--', path], options)
  if ((await remove()).code === 0) return
  // Without root, a folder that its owner may not write keeps its content.
  await run('chmod', ['-R', 'u+rwX', '--', path], options)
  const { code, stderr } = await remove()
  if (code !== 0)
    throw new AppError('internal', `cannot remove ${basename(dirname(path))}`, { cause: stderr.slice(-1000) })
}

async function inJail(
  options: UnpackOptions,
  program: readonly string[],
  jail: Omit<ConfinedOptions, 'folder'> & { onStdout?: (text: string) => void },
) {
  const { tools, folder, signal } = options
  const { onStdout, ...confined } = jail
  const command = confinedArguments({ folder, ...confined }, program)
  return await run(tools.bwrap, command, { signal, limitMs: unpackLimitMs, ...(onStdout ? { onStdout } : {}) })
}

/** An OCI layout of our own around the tars: nothing that a stranger wrote but the layers reaches umoci. */
async function writeLayout(folder: string, diffIds: readonly string[], sizes: readonly number[]): Promise<void> {
  const blob = async (value: object) => {
    const text = JSON.stringify(value)
    const digest = digestOf(text)
    await writeFile(join(folder, 'blobs', 'sha256', hexOf(digest)), text)
    return { digest, size: Buffer.byteLength(text) }
  }
  const config = await blob({
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: diffIds },
  })
  const type = (name: string) => ({ mediaType: `application/vnd.oci.image.${name}` })
  const layers = diffIds.map((digest, at) => ({ ...type('layer.v1.tar'), digest, size: sizes[at] ?? 0 }))
  const manifest = await blob({
    schemaVersion: 2,
    ...type('manifest.v1+json'),
    config: { ...type('config.v1+json'), ...config },
    layers,
  })
  const annotations = { 'org.opencontainers.image.ref.name': 'image' }
  const index = { schemaVersion: 2, manifests: [{ ...type('manifest.v1+json'), ...manifest, annotations }] }
  await writeFile(join(folder, 'index.json'), JSON.stringify(index))
  await writeFile(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
}

function refusal(answer: { refused: string; why: string }, what: string, limits: LayerLimits): AppError {
  const { imageBytes, diskBytes } = limits
  const full = answer.refused === 'too-large' && diskBytes < imageBytes
  if (full || answer.refused === 'no-space') return noSpace(what, 'the disk has too little room for it')
  return unsuitable(
    what,
    answer.refused === 'too-large' ? `unpacked, ${answer.why}, the limit of an image` : answer.why,
  )
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

export function noSpace(what: string, why: string): AppError {
  return new AppError('image_no_space', `cannot pull ${what}: ${why}`)
}

function failure(step: string, what: string, stderr: string): AppError {
  if (/no space left on device/i.test(stderr)) return noSpace(what, 'the disk is full')
  return new AppError('internal', `cannot pull ${what}: cannot ${step}`, { cause: stderr.trim().slice(-1000) })
}

async function sizeOfFile(file: string): Promise<number> {
  await using handle = await open(file, 'r')
  // The file gets its length at once and its content bit by bit.
  return (await handle.stat()).blocks * 512
}

export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1)
}

function uuidOf(digest: string): string {
  const hex = hexOf(digest)
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  )
}

/** Whole lines of a stream of text. */
class Lines {
  readonly #onLine: (line: string) => void
  #rest = ''

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  push(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#onLine(line)
  }
}
