/**
 * Makes the erofs file of an image's layers: fetches, looks, unpacks, packs, each phase told and timed, with room made before and after. What it works on
 * lies in a folder of its own, which goes however it ends; only a whole file is taken over into the store.
 */

import { join } from 'node:path'
import type { pullPhases } from '@portico/shared/control'
import type { Logger } from '../log.ts'
import type { Catalog } from './catalog.ts'
import type { Records } from './records.ts'
import { formatReference, type Reference } from './reference.ts'
import type { Resolved, Skopeo } from './skopeo.ts'
import type { ImageTools } from './tools.ts'
import { freeBytes, type LayerLimits, makeErofs, noSpace, openLayers, removeTree, unpackLayers } from './unpack.ts'

export type PullPhase = (typeof pullPhases)[number]

export interface PullStep {
  readonly phase: PullPhase
  readonly doneBytes?: number
  readonly totalBytes?: number
}

export type PhaseTimes = Readonly<Partial<Record<PullPhase, number>>>

export interface Built {
  readonly sizeBytes: number
  readonly tookMs: PhaseTimes
}

export interface BuilderOptions {
  readonly folder: string
  readonly cacheLimitBytes: number
  readonly imageLimitBytes?: number
  readonly tools: ImageTools
  readonly log: Logger
  readonly records: Records
  readonly catalog: Catalog
  readonly skopeo: Skopeo
}

const defaultImageLimit = 20 * 2 ** 30
/** Stays free for the sandboxes' disks whatever is pulled. */
const sparedBytes = 512 * 2 ** 20
/** How much larger than its compressed layers an image is, at most, as a rule. */
const usualGrowth = 5

export class Builder {
  readonly #options: BuilderOptions
  readonly counts = { pulledBytes: 0, evicted: 0 }

  constructor(options: BuilderOptions) {
    this.#options = options
  }

  /** Resolves when the file is in the store, for whoever has pinned it. */
  async build(
    reference: Reference,
    resolved: Resolved,
    rootfs: string,
    signal: AbortSignal,
    onStep: (step: PullStep) => void,
  ): Promise<Built> {
    const { tools, cacheLimitBytes, imageLimitBytes = defaultImageLimit, records, skopeo } = this.#options
    const what = formatReference(reference)
    const { manifest, config } = resolved
    const phases = new Phases(onStep)
    const folder = await records.work()
    const steps = (onBytes: (done: number) => void) => ({ tools, what, folder, signal, onBytes })
    try {
      await this.#makeRoom(what, 0, manifest.bytes)
      await phases.run('pull', manifest.bytes, (onBytes) => skopeo.fetch(reference, resolved, folder, signal, onBytes))
      this.counts.pulledBytes += manifest.bytes
      const bytes = await phases.run('unpack', manifest.bytes, async (onBytes) => {
        const limits = await this.#limitsFor(manifest.bytes, Math.min(imageLimitBytes, cacheLimitBytes))
        const unpacked = await openLayers(steps(onBytes), manifest, config.diffIds, limits)
        await this.#makeRoom(what, unpacked, unpacked)
        await unpackLayers(steps(onBytes))
        return unpacked
      })
      const sizeBytes = await phases.run('erofs', bytes, (onBytes) => makeErofs(steps(onBytes), rootfs, bytes))
      await this.#makeRoom(what, sizeBytes, 0)
      signal.throwIfAborted()
      await records.adopt(join(folder, 'image.erofs'), rootfs)
      return { sizeBytes, tookMs: phases.tookMs }
    } finally {
      await removeTree(folder)
    }
  }

  /** Removes what nobody uses until the cache has room for `cached` more bytes and the disk for `written`. */
  async #makeRoom(what: string, cached: number, written: number): Promise<void> {
    const { cacheLimitBytes, folder, catalog } = this.#options
    const over = catalog.bytes + cached - cacheLimitBytes
    const lacking = written + sparedBytes - (await freeBytes(folder))
    await this.#evict(Math.max(over, lacking))
    if (cached > 0 && catalog.bytes + cached > cacheLimitBytes)
      throw noSpace(what, `all images together may take ${cacheLimitBytes} bytes, and those in use leave too little`)
    if (lacking > 0 && (await freeBytes(folder)) < written + sparedBytes) throw noSpace(what, 'the disk is full')
  }

  /** Tars and files lie side by side for a while, and the disk is not filled to the brim. */
  async #limitsFor(compressed: number, imageBytes: number): Promise<LayerLimits> {
    const half = async () => Math.floor(((await freeBytes(this.#options.folder)) - sparedBytes) / 2)
    await this.#evict(2 * (Math.min(imageBytes, usualGrowth * compressed) - (await half())))
    return { imageBytes, diskBytes: Math.max(0, await half()) }
  }

  async #evict(bytes: number): Promise<void> {
    if (bytes <= 0) return
    const { catalog, log } = this.#options
    const evicted = await catalog.free(bytes)
    this.counts.evicted += evicted
    if (evicted > 0) log.info({ evicted, bytes: catalog.bytes }, 'image.evicted')
  }
}

/** Tells each phase as it goes, and how long it took. */
class Phases {
  readonly #onStep: (step: PullStep) => void
  readonly tookMs: Partial<Record<PullPhase, number>> = {}

  constructor(onStep: (step: PullStep) => void) {
    this.#onStep = onStep
  }

  async run<Value>(
    phase: PullPhase,
    totalBytes: number,
    work: (onBytes: (done: number) => void) => Promise<Value>,
  ): Promise<Value> {
    const begun = performance.now()
    this.#onStep({ phase, doneBytes: 0, totalBytes })
    const value = await work((done) => this.#onStep({ phase, doneBytes: Math.min(done, totalBytes), totalBytes }))
    this.#onStep({ phase, doneBytes: totalBytes, totalBytes })
    this.tookMs[phase] = Math.round(performance.now() - begun)
    return value
  }
}
