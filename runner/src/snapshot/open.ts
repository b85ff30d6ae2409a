/**
 * Finds a saved state again. What is cheap is checked before anybody gets it: manifest, versions, sizes, the list of pages. The digests of the parts
 * are computed meanwhile, off the main thread: the machine may be started at once, but nobody may use it before `verified`.
 */

import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { abortable } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import type { DiskLayer, MachineState, StateFile, StateVersions } from '../vm/machine-state.ts'
import { chunksOf } from './chunks-of.ts'
import { fileDigest, TreeDigest } from './digest.ts'
import { knownDigest } from './known-digests.ts'
import { damaged, type Manifest, type Part, parseManifest, partNames } from './manifest.ts'
import { decodeRuns } from './runs.ts'

export interface OpenedState {
  /** Its files are the folder's: it may be used for as long as the folder is there. */
  readonly state: MachineState
  readonly manifest: Manifest
  /**
   * Resolves when every part is what was saved; rejects with `snapshot_damaged`. Pages are hashed while a machine is made of them, and are read for it only
   * where none was. Repeating it costs nothing.
   */
  verify(): Promise<void>
}

/** Opens what `saveState` left in `folder`. Throws `snapshot_not_found`, `snapshot_damaged` or `snapshot_incompatible`. */
export async function openState(folder: string, versions: StateVersions, signal: AbortSignal): Promise<OpenedState> {
  signal.throwIfAborted()
  const manifest = parseManifest(await readManifest(folder))
  checkVersions(manifest.versions, versions)
  const part = (name: string, saved: Part): StateFile => ({ file: join(folder, name), ...saved })
  const base = part(partNames.base, manifest.base)
  const device = part(partNames.device, manifest.device)
  const pages = part(partNames.pages, manifest.pages)
  const layers: DiskLayer[] = manifest.layers.map(({ format, ...saved }, number) => ({
    ...part(partNames.layer(number), saved),
    format,
  }))
  const runs = part(partNames.runs, manifest.runs)
  await Promise.all([base, device, pages, runs, ...layers].map(checkSize))
  await checkDigest(runs, fileDigest(runs.file))
  const pageRuns = decodeRuns(await readFile(runs.file), manifest.shape.memoryMib, pages.bytes)
  signal.throwIfAborted()
  const proof = new PagesProof(pages, signal)
  const state: MachineState = {
    versions: manifest.versions,
    shape: manifest.shape,
    base,
    device,
    pages: { runs: pageRuns, bytes: pages.bytes, file: pages, chunks: () => proof.chunks(), release: () => undefined },
    layers,
    release: async () => undefined,
  }
  const others = abortable(verifyOthers(state, manifest, signal), signal)
  others.catch(() => undefined)
  return { state, manifest, verify: async () => void (await Promise.all([others, proof.verify()])) }
}

/** Hashes pages while they are read for the first time. */
class PagesProof {
  readonly #pages: StateFile
  readonly #signal: AbortSignal
  #proof: Promise<void> | undefined

  constructor(pages: StateFile, signal: AbortSignal) {
    this.#pages = pages
    this.#signal = signal
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    const { file, bytes } = this.#pages
    if (this.#proof !== undefined) {
      yield* chunksOf(file, { bytes, onShort: endsEarly })
      return
    }
    const digest = new TreeDigest()
    const read = Promise.withResolvers<string>()
    this.#proof = checkDigest(this.#pages, read.promise)
    this.#proof.catch(() => undefined)
    let whole = false
    try {
      yield* chunksOf(file, { bytes, onShort: endsEarly, also: (chunk) => digest.add(chunk) })
      whole = true
    } finally {
      // Whoever reads only a part of it proves nothing.
      if (whole) digest.end().then(read.resolve, read.reject)
      else read.reject(damaged('a part of it was not read to its end'))
    }
  }

  verify(): Promise<void> {
    this.#proof ??= checkDigest(this.#pages, fileDigest(this.#pages.file, this.#signal))
    return abortable(this.#proof, this.#signal)
  }
}

async function readManifest(folder: string): Promise<string> {
  try {
    return await readFile(join(folder, partNames.manifest), 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw damaged('its manifest cannot be read', cause)
    throw new AppError('snapshot_not_found', 'cannot use what was saved: there is no complete saved state', { cause })
  }
}

function checkVersions(saved: StateVersions, ours: StateVersions): void {
  const names = { accelerator: 'accelerator', qemu: 'version of QEMU', cpu: 'processor model' } as const
  for (const key of ['accelerator', 'qemu', 'cpu'] as const) {
    if (saved[key] === ours[key]) continue
    throw new AppError(
      'snapshot_incompatible',
      `cannot use what was saved: it needs the ${names[key]} ${saved[key]}, this runner has ${ours[key]}`,
    )
  }
}

async function checkSize({ file, bytes }: StateFile): Promise<void> {
  const found = await stat(file).catch((cause: unknown) => {
    throw damaged('a part of it is missing', cause)
  })
  if (found.size !== bytes) throw damaged(`a part of it has ${found.size} bytes instead of ${bytes}`)
}

async function verifyOthers(state: MachineState, { kind }: Manifest, signal: AbortSignal): Promise<void> {
  const { base, layers, device } = state
  // Of a template all is used at each create.
  const own = kind === 'template' ? knownDigest(device.file) : fileDigest(device.file, signal)
  await Promise.all([
    checkDigest(device, own),
    ...[base, ...layers].map((part) => checkDigest(part, knownDigest(part.file))),
  ])
}

async function checkDigest({ sha256 }: StateFile, computed: Promise<string>): Promise<void> {
  const found = await computed.catch((cause: unknown) => {
    throw damaged('a part of it cannot be read', cause)
  })
  if (found !== sha256) throw damaged('a part of it does not match its checksum')
}

function endsEarly(): never {
  throw damaged('a part of it ends early')
}
