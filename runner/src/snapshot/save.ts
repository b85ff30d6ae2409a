/**
 * Keeps a captured state in a folder. Parts come first and are on the disk before the manifest is; the manifest gets its name last, by a rename. So a
 * crash at any point leaves either a saved state or a folder without a manifest, which is none.
 */

import { constants } from 'node:fs'
import { copyFile, link, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { orDiskFull } from '../disk/full.ts'
import type { MachineState, StateFile } from '../vm/machine-state.ts'
import { openDirect } from './direct.ts'
import { knownDigest } from './known-digests.ts'
import { formatNumber, type Manifest, type Part, partNames, type SavedKind, sealManifest } from './manifest.ts'
import { PartWriter } from './part-writer.ts'
import { encodeRuns } from './runs.ts'

/** What a save does, in order. */
export const saveSteps = ['folder', 'base', 'layers', 'device', 'pages', 'runs', 'manifest', 'rename', 'sync'] as const
export type SaveStep = (typeof saveSteps)[number]

export interface SaveOptions {
  readonly kind: SavedKind
  readonly generation: number
  /** Variables that the sandbox was created with: those who restore it get them, too. */
  readonly env?: Readonly<Record<string, string>>
  /** Told of each step once it is done. */
  readonly onStep?: (step: SaveStep) => void | Promise<void>
}

/** What a saved state takes on the disk, without the memory that it shares with others. */
export interface Saved {
  readonly sizeBytes: number
}

/** Saves `state` as `folder`, which must not exist yet; when it rejects, the folder is gone. The state stays its owner's to release. */
export async function saveState(state: MachineState, folder: string, options: SaveOptions): Promise<Saved> {
  const step = async (name: SaveStep) => await options.onStep?.(name)
  await makeFolder(folder)
  try {
    await step('folder')
    const parts = await saveParts(state, folder, step)
    const { kind, generation, env = {} } = options
    const { versions, shape } = state
    await saveManifest({ format: formatNumber, kind, generation, versions, shape, env, ...parts }, folder, step)
    return { sizeBytes: await allocated(folder, parts.layers.length) }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw explained(error)
  }
}

type Parts = Pick<Manifest, 'base' | 'device' | 'pages' | 'runs' | 'layers'>
type Step = (name: SaveStep) => Promise<void>

async function saveParts(state: MachineState, folder: string, step: Step): Promise<Parts> {
  const base = await keep(state.base, join(folder, partNames.base))
  await step('base')
  const layers: Parts['layers'] = []
  for (const [number, layer] of state.layers.entries())
    layers.push({ ...(await keep(layer, join(folder, partNames.layer(number)))), format: layer.format })
  await step('layers')
  const device = await keep(state.device, join(folder, partNames.device))
  await step('device')
  const pagesFile = join(folder, partNames.pages)
  const pages = state.pages.file
    ? await keep(state.pages.file, pagesFile)
    : await write(state.pages.chunks(), pagesFile, state.pages.inMemory)
  if (pages.bytes !== state.pages.bytes) throw new Error('the pages are not as long as their runs say')
  await step('pages')
  const runsBytes = encodeRuns(state.pages.runs)
  const runs = await write(runsBytes.length > 0 ? [runsBytes] : [], join(folder, partNames.runs))
  await step('runs')
  return { base, device, pages, runs, layers }
}

async function saveManifest(manifest: Manifest, folder: string, step: Step): Promise<void> {
  const file = join(folder, partNames.manifest)
  await write([Buffer.from(sealManifest(manifest))], `${file}.new`)
  await sync(folder)
  await step('manifest')
  await rename(`${file}.new`, file)
  await step('rename')
  await sync(folder)
  await sync(dirname(folder))
  await step('sync')
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(dirname(folder), { recursive: true, mode: 0o700 })
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    throw explained(error)
  }
}

/** A link to the file, or a copy where there can be none. */
async function keep(part: StateFile, target: string): Promise<Part> {
  try {
    await link(part.file, target)
  } catch (error) {
    if (!cannotLink.has((error as NodeJS.ErrnoException).code ?? '')) throw error
    await copyFile(part.file, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  }
  await sync(target)
  const { size } = await stat(target)
  if (size !== part.bytes) throw new Error('a part of the state has changed its size')
  return { bytes: size, sha256: part.sha256 ?? (await knownDigest(part.file)) }
}

const cannotLink = new Set(['EXDEV', 'EMLINK', 'EPERM'])

/** Chunks that are written and hashed side by side. */
const atOnce = 6

async function write(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  file: string,
  inMemory = false,
): Promise<Part> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
  const handle = inMemory ? await openDirect(file, flags, 0o600) : await open(file, flags, 0o600)
  const writer = new PartWriter(handle)
  try {
    const under: Promise<void>[] = []
    for await (const chunk of chunks) {
      under.push(writer.add(chunk))
      // Otherwise a chunk is ours only until the next one is asked for.
      if (!inMemory || under.length >= atOnce) await under.shift()
    }
    return await writer.end()
  } finally {
    await writer.settle()
    await handle.close()
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function allocated(folder: string, layers: number): Promise<number> {
  const { device, pages, runs, manifest, layer } = partNames
  const names = [device, pages, runs, manifest, ...Array.from({ length: layers }, (_, number) => layer(number))]
  const stats = await Promise.all(names.map((name) => stat(join(folder, name))))
  return stats.reduce((sum, { blocks }) => sum + blocks * 512, 0)
}

function explained(thrown: unknown): unknown {
  const error = orDiskFull(thrown, 'save the sandbox')
  if (error instanceof AppError) return error
  return new AppError('internal', 'cannot save the sandbox: its state could not be written', { cause: error })
}
