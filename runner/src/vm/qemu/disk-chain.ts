/**
 * The layers of one machine's scratch disk. Only the top one is written; a capture freezes it and puts an empty one on top, so the machine and everything
 * that is made of the capture share what was written until then.
 *
 *   layer-0 (raw, an empty file system) ◀─ layer-1 (its template's) ◀─ layer-2 … (captured before it) ◀─ disk-0 (frozen) ◀─ … ◀─ disk-N (top)
 *
 * Beyond `maxFrozen` all but the first two, which many machines share, are merged into the top one, while the machine runs. Frozen layers lie in a folder that the machine's
 * user cannot reach, as links to files that it once made itself: what it left there is looked at by descriptor and never followed.
 */

import { constants } from 'node:fs'
import { chmod, link, lstat, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { diskName, jailPaths, type VmPaths } from '../../paths.ts'
import type { DiskLayer } from '../machine-state.ts'
import { topLayerCommand } from './args/block.ts'
import { guestNames, nodes } from './args/command-line.ts'
import { type Qmp, QmpRefusal } from './qmp.ts'

/** QEMU's name of the device behind which a scratch disk is. */
export const scratchDevice = `${guestNames.scratch}-device`

export interface Layer {
  /** Of QEMU's block layer. */
  readonly node: string
  /** In the folder of layers. */
  readonly name: string
  readonly format: 'raw' | 'qcow2'
}

export interface ChainOptions {
  readonly qmp: Qmp
  readonly paths: VmPaths
  /** The machine's user, if it has one. */
  readonly uid: number | undefined
  /** The layers below the top one, bottom first. */
  readonly below: readonly Layer[]
  /** Number of the top layer. */
  readonly top: number
  /** Makes an empty layer of the disk's size. */
  readonly create: (file: string) => Promise<void>
}

/** Layers that many machines share: an empty file system, and what its template wrote. They are never merged. */
export const sharedLayers = 2
/** Layers of its own below the top one; merging begins beyond it. */
export const maxFrozen = 6
/** A capture waits for a merge only beyond so many. */
const hardLimit = 16
const mergeLimitMs = 60_000
const mergeJob = 'merge'

export class DiskChain {
  readonly #options: ChainOptions
  readonly #shared: readonly Layer[]
  #frozen: Layer[]
  #top: number
  /** A layer that was made for the next capture and not used yet. */
  #prepared = false
  /** A layer that is frozen and not out of its machine's reach yet. */
  #unkept: number | undefined
  /** QEMU gave no answer to a change of the disk, and may have made it. */
  #unsure = false
  #merging: Promise<void> | undefined
  #onJobOver: (() => void) | undefined

  constructor(options: ChainOptions) {
    this.#options = options
    this.#shared = options.below.slice(0, sharedLayers)
    this.#frozen = options.below.slice(sharedLayers)
    this.#top = options.top
  }

  /** The files that hold what the machine wrote. */
  ownFiles(): string[] {
    const { paths } = this.#options
    return [paths.disk(this.#top), ...this.#frozen.map(({ name }) => paths.layer(name))]
  }

  get depth(): number {
    return this.#frozen.length
  }

  /** Makes the next top layer; what can be done while the machine still runs. */
  async prepare(): Promise<void> {
    if (this.#merging !== undefined && this.depth >= hardLimit) await this.#merging
    await this.#endMerge()
    if (this.#unsure) await this.#lookAgain()
    await this.#keepFrozen()
    if (this.#prepared) return
    const next = this.#top + 1
    const file = this.#options.paths.disk(next)
    await rm(file, { force: true })
    await this.#options.create(file)
    await this.#change('blockdev-add', topLayerCommand(nodes.disk(next), jailPaths.disk(next)))
    this.#prepared = true
  }

  /** Puts the prepared layer on top. The machine stands still, or its writers do. */
  async freeze(): Promise<void> {
    const [old, next] = [this.#top, this.#top + 1]
    await this.#change('blockdev-snapshot', { node: nodes.disk(old), overlay: nodes.disk(next) })
    this.#frozeTop()
    await this.#keepFrozen()
  }

  /** What is below the top is part of the disk from now on, whatever else fails. */
  #frozeTop(): void {
    const old = this.#top
    this.#prepared = false
    this.#top = old + 1
    this.#unkept = old
    this.#frozen.push({ node: nodes.disk(old), name: diskName(old), format: 'qcow2' })
  }

  async #keepFrozen(): Promise<void> {
    if (this.#unkept === undefined) return
    await keepLayer(this.#options, this.#unkept)
    this.#unkept = undefined
  }

  /** One of QEMU's commands that change the disk. */
  async #change(command: string, args: Readonly<Record<string, unknown>>): Promise<void> {
    try {
      await this.#options.qmp.execute(command, args)
    } catch (error) {
      // A refusal changes nothing.
      this.#unsure ||= !(error instanceof QmpRefusal)
      throw error
    }
  }

  /** Finds out how a change without an answer ended: the disk is as QEMU has it. */
  async #lookAgain(): Promise<void> {
    const { qmp } = this.#options
    const next = nodes.disk(this.#top + 1)
    const [top] = await chainNodes(qmp, scratchDevice)
    if (top === next) this.#frozeTop()
    else {
      this.#prepared = false
      await qmp.execute('blockdev-del', { 'node-name': next }).catch((error: unknown) => {
        if (!(error instanceof QmpRefusal)) throw error
      })
    }
    this.#unsure = false
  }

  /** How many of what `linkTo` answers, from the bottom, many machines share. */
  get sharedDepth(): number {
    return this.#shared.length
  }

  /** All layers below the top one, linked to where `place` says, bottom first. */
  async linkTo(place: (number: number) => string): Promise<DiskLayer[]> {
    const layers = [...this.#shared, ...this.#frozen]
    return await Promise.all(
      layers.map(async ({ name, format }, number) => {
        const file = place(number)
        await link(this.#options.paths.layer(name), file)
        return { file, format, bytes: (await lstat(file)).size }
      }),
    )
  }

  /** Begins to merge where there are too many layers; goes on in the background. */
  mergeIfDeep(): void {
    if (this.depth <= maxFrozen || this.#merging !== undefined) return
    this.#merging = this.#merge()
      .catch(() => undefined)
      .finally(() => {
        this.#merging = undefined
      })
  }

  /** QEMU told that a job is over. */
  onJobOver(job: unknown): void {
    if (job === mergeJob) this.#onJobOver?.()
  }

  async #merge(): Promise<void> {
    const { qmp, paths } = this.#options
    const base = this.#shared.at(-1)
    if (!base) return
    const merged = [...this.#frozen]
    const over = new Promise<void>((resolve) => {
      this.#onJobOver = resolve
    })
    const top = nodes.disk(this.#top)
    await qmp.execute('block-stream', { 'job-id': mergeJob, device: top, 'base-node': base.node })
    await over
    // Cancelled or failed: the layers are all still there.
    const [now, below] = await chainNodes(qmp, scratchDevice)
    if (now !== top || below !== base.node) return
    this.#frozen = this.#frozen.filter((layer) => !merged.includes(layer))
    for (const { node, name } of merged.reverse()) {
      // The file's own node goes with its layer, or is a node by itself.
      await qmp.execute('blockdev-del', { 'node-name': node }).catch(() => undefined)
      await qmp.execute('blockdev-del', { 'node-name': `${node}-file` }).catch(() => undefined)
      await rm(paths.layer(name), { force: true })
      await rm(join(paths.vm, name), { force: true })
    }
  }

  /** A merge holds the nodes: it is given up for a capture, and begins again after it. */
  async #endMerge(): Promise<void> {
    if (this.#merging === undefined) return
    await this.#options.qmp.execute('block-job-cancel', { device: mergeJob, force: true }).catch(() => undefined)
    const late = AbortSignal.timeout(mergeLimitMs)
    const limit = new Promise<never>((_, reject) =>
      late.addEventListener('abort', () =>
        reject(new AppError('deadline', 'cannot save the disk: a merge does not end')),
      ),
    )
    await Promise.race([this.#merging, limit])
  }
}

/** Puts a layer that is not written any more out of its machine's reach. Safe to repeat. */
export async function keepLayer({ paths, uid }: Pick<ChainOptions, 'paths' | 'uid'>, number: number): Promise<void> {
  const kept = paths.layer(diskName(number))
  await link(paths.disk(number), kept).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  const handle = await open(kept, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const { uid: owner } = await handle.stat()
    if (!(await handle.stat()).isFile() || (uid !== undefined && owner !== uid && owner !== 0))
      throw new AppError('sandbox_failed', 'cannot save the disk: something took the place of its file')
    if (uid !== undefined) await handle.chown(0, 0)
    await handle.chmod(0o444)
  } finally {
    await handle.close()
  }
}

/** Makes a link for a machine's own use of a layer that somebody else has. */
export async function takeLayer(file: string, kept: string): Promise<void> {
  await link(file, kept)
  await chmod(kept, 0o444)
}

/** The nodes of a disk as QEMU has them now, top first: for a machine whose runner died, and after a merge. */
export async function chainNodes(qmp: Qmp, device: string): Promise<string[]> {
  const { nodes: all, edges } = (await qmp.execute('x-debug-query-block-graph')) as BlockGraph
  const chain: string[] = []
  let id = all.find(({ type, name }) => type === 'block-backend' && name.includes(device))?.id
  for (let edge = 'root'; ; edge = 'backing') {
    const next = edges.find((one) => one.parent === id && one.name === edge)?.child
    if (next === undefined) return chain
    id = next
    chain.push(all.find((node) => node.id === next)?.name ?? '')
  }
}

interface BlockGraph {
  readonly nodes: readonly { readonly id: number; readonly type: string; readonly name: string }[]
  readonly edges: readonly { readonly parent: number; readonly child: number; readonly name: string }[]
}
