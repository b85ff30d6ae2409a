/**
 * Makes the erofs file of an image's layers: fetches, looks, unpacks, packs, each phase told and timed, with room made before and after. What it works on
 * lies in a folder of its own, which goes however it ends; only a whole file is taken over into the store.
 */

import { join } from 'node:path'
import type { pullPhases } from '@portico/shared/control'
import type { Logger } from '../log.ts'
import { BootGate } from '../sandbox/boot-gate.ts'
import type { Catalog } from './catalog.ts'
import { freeRoom, removeTree } from './disk.ts'
import { unsuitable } from './manifest.ts'
import { type LayerLimits, openLayers } from './open-layers.ts'
import type { Records } from './records.ts'
import { formatReference, type Reference } from './reference.ts'
import type { Resolved, Skopeo } from './skopeo.ts'
import { noSpace } from './step.ts'
import type { ImageTools } from './tools.ts'
import { type MadeFile, makeErofs, unpackLayers } from './unpack.ts'

export type PullPhase = (typeof pullPhases)[number]

export interface PullStep {
  readonly phase: PullPhase
  readonly doneBytes?: number
  readonly totalBytes?: number
}

export type PhaseTimes = Readonly<Partial<Record<PullPhase, number>>>

export interface Built extends MadeFile {
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
  readonly skopeo: Pick<Skopeo, 'fetch'>
}

const defaultImageLimit = 20 * 2 ** 30
/** Stays free for the sandboxes' disks whatever is pulled. */
const sparedBytes = 512 * 2 ** 20
const sparedInodes = 10_000
/** Each takes cores, memory and the disk's bandwidth from the sandboxes. */
const buildsAtOnce = 2
/** How much larger than its compressed layers an image is, at most, as a rule. */
const usualGrowth = 5

export class Builder {
  readonly #options: BuilderOptions
  readonly #gate = new BootGate(buildsAtOnce)
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
    const totalBytes = resolved.manifest.bytes
    if (totalBytes > this.#imageLimit)
      throw unsuitable(formatReference(reference), `it is larger than ${this.#imageLimit} bytes, the limit of an image`)
    onStep({ phase: 'pull', doneBytes: 0, totalBytes })
    const leave = await this.#gate.enter(signal)
    try {
      return await this.#build(reference, resolved, rootfs, signal, onStep)
    } finally {
      leave()
    }
  }

  get #imageLimit(): number {
    const { imageLimitBytes = defaultImageLimit, cacheLimitBytes } = this.#options
    return Math.min(imageLimitBytes, cacheLimitBytes)
  }

  async #build(
    reference: Reference,
    resolved: Resolved,
    rootfs: string,
    signal: AbortSignal,
    onStep: (step: PullStep) => void,
  ): Promise<Built> {
    const { tools, records, skopeo } = this.#options
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
        const limits = await this.#limitsFor(manifest.bytes)
        const opened = await openLayers(steps(onBytes), manifest, config.diffIds, limits)
        await this.#makeRoom(what, opened.bytes, opened.diskBytes)
        await unpackLayers(steps(onBytes), opened.bytes, sparedBytes / 2)
        return opened.bytes
      })
      const made = await phases.run('erofs', bytes, (onBytes) => makeErofs(steps(onBytes), rootfs, bytes))
      await this.#makeRoom(what, made.sizeBytes, 0)
      signal.throwIfAborted()
      await records.adopt(join(folder, 'image.erofs'), rootfs)
      return { ...made, tookMs: phases.tookMs }
    } finally {
      await removeTree(folder)
    }
  }

  /** Removes what nobody uses until the cache has room for `cached` more bytes and the disk for `written`; nothing, if that cannot be. */
  async #makeRoom(what: string, cached: number, written: number): Promise<void> {
    const { cacheLimitBytes, folder, catalog } = this.#options
    const { evictable } = catalog
    const over = catalog.bytes + cached - cacheLimitBytes
    const lacking = async () => written + sparedBytes - (await freeRoom(folder)).bytes
    const before = await lacking()
    if (cached > 0 && over > evictable)
      throw noSpace(what, `all images together may take ${cacheLimitBytes} bytes, and those in use leave too little`)
    if (before > evictable) throw noSpace(what, 'the disk is full')
    await this.#evict(Math.max(over, before))
    if (before > 0 && (await lacking()) > 0) throw noSpace(what, 'the disk is full')
  }

  /** Tars and files lie side by side for a while, and the disk is not filled to the brim. */
  async #limitsFor(compressed: number): Promise<LayerLimits> {
    const { folder, catalog } = this.#options
    const imageBytes = this.#imageLimit
    const free = async () => {
      const { bytes, inodes } = await freeRoom(folder)
      return {
        freeBytes: Math.max(0, Math.floor((bytes - sparedBytes) / 2)),
        freeInodes: Math.max(0, inodes - sparedInodes),
      }
    }
    const wanted = 2 * (Math.min(imageBytes, usualGrowth * compressed) - (await free()).freeBytes)
    if (wanted <= catalog.evictable) await this.#evict(wanted)
    return { imageBytes, ...(await free()) }
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
