/**
 * The images that this runner has from registries: pulled once per digest whoever asks, kept until room is needed, never removed while something uses them.
 *
 *   pull ─▶ resolve ─▶ (these layers are here? ─▶ yes: nothing to fetch) ─▶ pull ─▶ unpack ─▶ erofs ─▶ record
 *
 * It owns its folder. Programs of the host do the work, each in a jail (confined.ts); a pull that ends early leaves nothing behind, a crash leaves
 * `….partial`, which goes when the store is opened again.
 */

import { type Clock, systemClock } from '@portico/shared/clock'
import type { ImageConfig, RunnerImage } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import type { Logger } from '../log.ts'
import { Builder, type Built, type PhaseTimes, type PullStep } from './build.ts'
import { Catalog } from './catalog.ts'
import { removeTree } from './disk.ts'
import { type ImageRecord, Records, rootfsOf } from './records.ts'
import { formatReference, parseReference, type Reference } from './reference.ts'
import { joinOrBegin, type SharedWork } from './shared-work.ts'
import { type Resolved, Skopeo } from './skopeo.ts'
import { type ImageTools, imageTools } from './tools.ts'

export type { PhaseTimes, PullPhase, PullStep } from './build.ts'
export { type ImageTools, imageTools } from './tools.ts'

export interface ImageStoreOptions {
  /** Folder of the store alone; made if it is not there. */
  readonly folder: string
  /** What all images together may take of the disk. */
  readonly cacheLimitBytes: number
  /** What one image may be, unpacked: 20 GiB unless given, and never more than all together. */
  readonly imageLimitBytes?: number
  /** A containers-auth.json (what `skopeo login` and `docker login` write). */
  readonly authFile?: string
  /** `host[:port]` of registries that speak HTTP or have a certificate nobody knows. */
  readonly insecureRegistries?: readonly string[]
  readonly tools?: ImageTools
  readonly log: Logger
  readonly clock?: Clock
  /** Resolved names that sandboxes, snapshots and templates use. */
  readonly inUse: () => Iterable<string>
}

export interface PullOptions {
  /** Asks the registry even if there is an image of this reference here. */
  readonly refresh?: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: (step: PullStep) => void
}

/** An image of the store, ready to be booted. */
export interface StoredImage {
  /** With registry and digest: `docker.io/library/alpine@sha256:…`. */
  readonly name: string
  /** As it was asked for last, with registry and tag. */
  readonly reference: string
  /** All by which it came, the last one at the end. */
  readonly references: readonly string[]
  /** Of the manifest for linux/amd64. */
  readonly digest: string
  /** Of the erofs file. */
  readonly sizeBytes: number
  /** SHA-256 of the erofs file: two makes of the same layers differ. */
  readonly fileDigest: string
  readonly config: ImageConfig
  /** The file that machines boot from. */
  readonly erofs: string
  /** `sha256:…` of the layers: images with the same layers share the file, and so templates. */
  readonly rootfs: string
}

export interface PulledImage {
  readonly image: StoredImage
  /** Milliseconds of each phase that was gone through; empty when nothing was to be done. */
  readonly tookMs: PhaseTimes
}

/** Keeps an image in the store until it is disposed of. */
export interface ImageHold extends Disposable {
  readonly image: StoredImage
}

/** What the store is doing and has done, for metrics. */
export interface ImageStoreFigures {
  readonly images: number
  /** On disk, a file that several images share counted once. */
  readonly bytes: number
  readonly limitBytes: number
  readonly pullsUnderWay: number
  readonly pullsDone: number
  readonly pullsFailed: number
  readonly pulledBytes: number
  readonly evicted: number
}

export class ImageStore {
  readonly #options: ImageStoreOptions
  readonly #records: Records
  readonly #catalog: Catalog
  readonly #skopeo: Skopeo
  readonly #builder: Builder
  readonly #pulls = new Map<string, SharedWork<PulledImage, PullStep>>()
  readonly #builds = new Map<string, SharedWork<Built, PullStep>>()
  readonly #counts = { pullsDone: 0, pullsFailed: 0 }
  #closed = false

  private constructor(options: ImageStoreOptions, records: Records, found: readonly ImageRecord[]) {
    const { tools = imageTools, authFile, insecureRegistries = [], clock = systemClock, inUse } = options
    this.#options = options
    this.#records = records
    this.#catalog = new Catalog({ records, clock, inUse }, found)
    this.#skopeo = new Skopeo({ tools, insecureRegistries, ...(authFile === undefined ? {} : { authFile }) })
    this.#builder = new Builder({ ...options, tools, records, catalog: this.#catalog, skopeo: this.#skopeo })
  }

  /** Reads what is there and removes what a crash left. */
  static async open(options: ImageStoreOptions): Promise<ImageStore> {
    const records = await Records.open(options.folder)
    return new ImageStore(options, records, await records.sweep(options.log))
  }

  /** The image of a resolved name, or of a reference (any spelling) that was pulled before; undefined if there is none. Counts as a use. */
  get(name: string): StoredImage | undefined {
    const record = this.#catalog.find(name)
    return record && this.#stored(this.#catalog.touch(record))
  }

  /** The image, from here or from its registry; calls for the same at the same time share one pull, which ends when the last of them is aborted. */
  async pull(reference: string, options: PullOptions = {}): Promise<PulledImage> {
    const { refresh = false, signal, onProgress = () => undefined } = options
    signal?.throwIfAborted()
    const parsed = parseReference(reference)
    const here = refresh ? undefined : this.get(reference)
    if (here) return { image: here, tookMs: {} }
    if (this.#closed) throw closing()
    const spelled = formatReference(parsed)
    const pull = joinOrBegin(this.#pulls, spelled, (inner, onStep) => this.#pull(parsed, spelled, inner, onStep))
    return await pull.join(signal, onProgress)
  }

  /** Most recently used first. */
  list(): StoredImage[] {
    return this.#catalog.all().map((record) => this.#stored(record))
  }

  /** Removes by name or reference: `conflict` while it is held or in use, `image_not_found` if there is none. */
  async remove(name: string): Promise<void> {
    const record = this.#catalog.find(name)
    if (!record) throw new AppError('image_not_found', `cannot remove the image ${name}: this runner does not have it`)
    await this.#catalog.remove(record)
    this.#options.log.info({ image: record.name }, 'image.removed')
  }

  /** Keeps it from being removed; undefined if there is none. */
  hold(name: string): ImageHold | undefined {
    const image = this.get(name)
    return image && { image, ...this.#catalog.hold(image.name) }
  }

  figures(): ImageStoreFigures {
    const { size: images, bytes } = this.#catalog
    const limitBytes = this.#options.cacheLimitBytes
    return { images, bytes, limitBytes, pullsUnderWay: this.#pulls.size, ...this.#counts, ...this.#builder.counts }
  }

  /** Ends what is under way; the images stay. */
  async close(): Promise<void> {
    this.#closed = true
    const work = [...this.#pulls.values(), ...this.#builds.values()]
    for (const one of work) one.abort(closing())
    await Promise.all(work.map((one) => one.settled()))
  }

  async #pull(
    reference: Reference,
    spelled: string,
    signal: AbortSignal,
    onStep: (step: PullStep) => void,
  ): Promise<PulledImage> {
    const { log } = this.#options
    const folder = await this.#records.work()
    const begun = performance.now()
    try {
      onStep({ phase: 'resolve' })
      const resolved = await this.#skopeo.resolve(reference, folder, signal)
      const tookMs = { resolve: Math.round(performance.now() - begun) }
      const rootfs = rootfsOf(resolved.config.diffIds)
      await using _pin = this.#catalog.pin(rootfs)
      const built = await this.#layers(reference, resolved, rootfs, signal, onStep)
      const { name, digest, config } = resolved
      const { sizeBytes, fileDigest } = built
      const found = { name, digest, rootfs, sizeBytes, fileDigest, config: config.image }
      const record = await this.#catalog.add(found, spelled)
      this.#counts.pullsDone += 1
      log.info({ image: name, reference: spelled, sizeBytes, ...tookMs, ...built.tookMs }, 'image.pulled')
      return { image: this.#stored(record), tookMs: { ...tookMs, ...built.tookMs } }
    } catch (error) {
      if (!signal.aborted) this.#counts.pullsFailed += 1
      log.warn({ reference: spelled, error, ms: Math.round(performance.now() - begun) }, 'image.pull.failed')
      throw error
    } finally {
      await removeTree(folder)
    }
  }

  /** The file of these layers, from here or made now. Two images that differ in their config alone share it. */
  async #layers(
    reference: Reference,
    resolved: Resolved,
    rootfs: string,
    signal: AbortSignal,
    onStep: (step: PullStep) => void,
  ): Promise<Built> {
    const here = this.#catalog.hasLayers(rootfs)
    if (here) return { sizeBytes: here.sizeBytes, fileDigest: here.fileDigest, tookMs: {} }
    const build = joinOrBegin(this.#builds, rootfs, (inner, onInner) =>
      this.#builder.build(reference, resolved, rootfs, inner, onInner),
    )
    return await build.join(signal, onStep)
  }

  #stored(record: ImageRecord): StoredImage {
    const { name, digest, sizeBytes, fileDigest, config, rootfs, references } = record
    const reference = references.at(-1) ?? name
    const file = { sizeBytes, fileDigest, rootfs, erofs: this.#records.erofs(rootfs) }
    return { name, reference, references, digest, config, ...file }
  }
}

/** As it goes over the tunnel. */
export function wireImage(image: StoredImage): RunnerImage {
  const { name, reference, digest, sizeBytes, config } = image
  return { name, reference, digest, size_bytes: sizeBytes, config }
}

function closing(): AppError {
  return new AppError('cancelled', 'cannot pull the image: the runner is stopping')
}
