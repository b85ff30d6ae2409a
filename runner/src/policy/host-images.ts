/**
 * The images of this host, for whoever wants to boot one: what a name means, whether the policy lets it be booted, and the image itself, pulled if need be
 * and held for as long as it is being used. What exists already is asked for by its resolved name, which no policy stands in the way of.
 */

import { type Clock, systemClock } from '@portico/shared/clock'
import type { RunnerPolicy, SandboxSpec } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { formatReference, parseReference } from '../image/reference.ts'
import type { ImageStore, PulledImage, PullStep, StoredImage } from '../image/store.ts'
import { part } from '../tracing/tracing.ts'
import type { VmImages } from '../vm/images.ts'
import * as names from './names.ts'
import { patient } from './patience.ts'
import type { Policy, Reserved } from './policy.ts'

export type Store = Pick<ImageStore, 'get' | 'pull' | 'list' | 'remove' | 'hold' | 'figures' | 'close'>

export interface HostImagesOptions {
  readonly images: VmImages
  readonly aliases: Readonly<Record<string, string>>
  readonly policy?: Policy | undefined
  /** Of images from registries; without one there are none. */
  readonly store?: Store | undefined
  readonly clock?: Clock | undefined
}

/** An image that is here, under the name by which it is found again, and kept here until it is disposed of. */
export interface Brought extends Disposable {
  readonly name: string
}

/** What may be booted. */
export interface Admitted {
  /** Of a preset it is what it resolves to, of others only once it was brought. */
  readonly name: string
  /** Brings it, where that may take a while. */
  readonly bring?: (signal: AbortSignal) => Promise<Brought>
}

export interface PullAsked {
  readonly refresh: boolean
  readonly signal: AbortSignal
  readonly onProgress?: (step: PullStep) => void
}

/** How many images of the store are told of, each by its name and its reference. */
const mostTold = 128

export class HostImages {
  readonly #options: HostImagesOptions
  readonly #reserved: Reserved
  /** Keys of `custom_images`, each with its whole reference. */
  readonly #custom: readonly (readonly [string, string])[]
  readonly #listeners = new Set<() => void>()

  constructor(options: HostImagesOptions) {
    this.#options = options
    this.#reserved = { presets: [...options.images.keys()], aliases: options.aliases }
    this.#custom = Object.entries(options.policy?.custom_images ?? {}).map(([name, reference]) => [
      name,
      formatReference(parseReference(reference)),
    ])
  }

  /** What a sandbox is to be made of. Throws what the policy says against it. */
  admit({ image, vcpus, mem_mib: memoryMib }: Pick<SandboxSpec, 'image' | 'vcpus' | 'mem_mib'>): Admitted {
    const { policy } = this.#options
    const { admitted, meaning, known } = this.#admit(image)
    names.mustFitCaps(image, meaning, { vcpus, memoryMib }, policy, known)
    this.#mustBeInstalled(image, meaning)
    return admitted
  }

  /** The image for something other than a machine; of a preset it costs nothing. */
  async bring(image: string, signal: AbortSignal): Promise<Brought> {
    const { admitted, meaning } = this.#admit(image)
    this.#mustBeInstalled(image, meaning)
    return (await admitted.bring?.(signal)) ?? { name: admitted.name, [Symbol.dispose]: () => undefined }
  }

  /** Whether a pull of it may be asked for; throws why not. */
  mustBePullable(name: string): void {
    this.#pullable(name)
  }

  /** Brings an image here and keeps it for later. */
  async pull(name: string, { refresh, signal, onProgress }: PullAsked): Promise<PulledImage> {
    const { reference } = this.#pullable(name)
    return await this.#pull(reference, { refresh, signal, ...(onProgress ? { onProgress } : {}) })
  }

  /** Of the store, most recently used first. */
  list(): readonly StoredImage[] {
    return this.#options.store?.list() ?? []
  }

  /** Removes an image of the store; what is not there is removed already. */
  async remove(name: string): Promise<void> {
    const { store, policy } = this.#options
    if (!store) return
    const own = policy?.custom_images
    const reference = own && Object.hasOwn(own, name) ? (own[name] ?? name) : name
    await store.remove(reference).catch((error: unknown) => {
      if (!(error instanceof AppError && error.code === 'image_not_found')) throw error
    })
    this.#changed()
  }

  /** Whether it is here, by its resolved name; asking is no use of it. */
  has(resolved: string): boolean {
    return this.#reserved.presets.includes(resolved) || this.list().some(({ name }) => name === resolved)
  }

  /** Every name that a create may give now. */
  bootable(): string[] {
    const { policy } = this.#options
    const { presets, aliases } = this.#reserved
    const named = Object.keys(aliases).filter((name) => presets.includes(aliases[name] ?? ''))
    const short = [...presets, ...named, ...Object.keys(policy?.custom_images ?? {})]
    const allowed = short.filter((name) => this.#meansAllowed(name))
    const stored = this.list().filter((image) => this.#meansAllowed(image.name, this.#knownAs(namesOf(image))))
    const told = stored
      .slice(0, mostTold)
      .flatMap(({ name, reference }) => (this.#meansAllowed(reference) ? [name, reference] : [name]))
    return [...new Set([...allowed, ...told])]
  }

  /** What is told by resolved names, told by every name that leads to them. */
  byName(counts: Iterable<readonly [string, number]>): Record<string, number> {
    return Object.fromEntries(
      [...counts].flatMap(([image, count]) => this.#namesOf(image).map((name) => [name, count])),
    )
  }

  /** The same, each counted once: by its preset, or the key of `custom_images` that leads to it, or as `other`. */
  byOwnName(counts: Iterable<readonly [string, number]>): Record<string, number> {
    const images = this.list()
    const own: Record<string, number> = {}
    for (const [resolved, count] of counts) {
      const image = images.find(({ name }) => name === resolved)
      const preset = this.#reserved.presets.includes(resolved) ? resolved : undefined
      const label = preset ?? (image && this.#knownAs(namesOf(image)).custom[0]) ?? 'other'
      own[label] = (own[label] ?? 0) + count
    }
    return own
  }

  /** What callers are told of the policy. */
  get told(): RunnerPolicy | undefined {
    const { policy } = this.#options
    if (!policy) return undefined
    return {
      default_cpus: policy.default_cpus,
      default_memory_mb: policy.default_memory_mb,
      default_idle_timeout_secs: policy.default_idle_timeout_secs,
      max_concurrent_sandboxes: policy.max_concurrent_sandboxes,
      catalog: names.catalogOf(this.#reserved, policy).slice(0, 256),
    }
  }

  /** For metrics. */
  figures(): ReturnType<Store['figures']> | undefined {
    return this.#options.store?.figures()
  }

  /** Calls `listener` when other images are here; the answer ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async close(): Promise<void> {
    await this.#options.store?.close()
  }

  #admit(name: string): { readonly admitted: Admitted; readonly meaning: names.Meaning; readonly known: names.Known } {
    const { policy } = this.#options
    const meaning = names.meaningOf(name, this.#reserved, policy)
    const known = this.#known(meaning)
    names.mustBeAllowed(name, meaning, policy, known)
    names.mustNotMove(name, meaning)
    if (meaning.kind === 'preset') return { admitted: { name: meaning.preset }, meaning, known }
    const { reference } = meaning
    return { admitted: { name: reference, bring: (signal) => this.#bring(reference, signal) }, meaning, known }
  }

  #namesOf(resolved: string): string[] {
    const { aliases } = this.#reserved
    const short = Object.keys(aliases).filter((name) => aliases[name] === resolved)
    // Not by asking the store for each, which would count as a use of it.
    const image = this.list().find(({ name }) => name === resolved)
    if (!image) return [resolved, ...short]
    return [resolved, image.reference, ...this.#knownAs(namesOf(image)).custom]
  }

  #meansAllowed(name: string, known?: names.Known): boolean {
    const { policy } = this.#options
    try {
      const meaning = names.meaningOf(name, this.#reserved, policy)
      return names.isAllowed(name, meaning, policy, known)
    } catch {
      // An alias of a preset that this host does not have.
      return false
    }
  }

  /** The names by which an image of that name came here: an entry with a tag, or a custom image, stands for its digest, too. */
  #known(meaning: names.Meaning): names.Known {
    if (meaning.kind !== 'registry') return this.#knownAs([])
    const { reference } = meaning
    const image = this.#options.store?.get(reference)
    return this.#knownAs([reference, ...(image ? namesOf(image) : [])])
  }

  #knownAs(references: readonly string[]): names.Known {
    return { references, custom: this.#custom.filter(([, one]) => references.includes(one)).map(([name]) => name) }
  }

  #pullable(name: string): names.FromRegistry {
    const { policy } = this.#options
    if (!policy)
      throw new AppError('image_not_allowed', 'cannot pull an image: this runner has no policy that allows any')
    const meaning = names.meaningOf(name, this.#reserved, policy)
    if (meaning.kind === 'preset') {
      const why = `${name} is a preset, which every runner has; a registry's image of that name is docker.io/library/${name}`
      throw new AppError('invalid_request', `cannot pull the image: ${why}`)
    }
    names.mustBeAllowed(name, meaning, policy, this.#known(meaning))
    return meaning
  }

  #mustBeInstalled(name: string, meaning: names.Meaning): void {
    const { policy, store } = this.#options
    if (meaning.kind === 'preset' || policy?.auto_install === true || store?.get(meaning.reference)) return
    throw new AppError('image_not_installed', `cannot use the image: ${name} is not on this runner`)
  }

  async #bring(reference: string, signal: AbortSignal): Promise<Brought> {
    const { store } = this.#options
    // Between a pull and the hold it may have been removed again.
    for (let name = reference, tries = 3; tries > 0; tries--) {
      const held = store?.hold(name)
      if (held) return { name: held.image.name, [Symbol.dispose]: () => held[Symbol.dispose]() }
      const late = new AppError(
        'image_pull_failed',
        `cannot use the image: ${reference} is still being pulled; try again`,
      )
      const pull = (ends: AbortSignal) => this.#pull(reference, { refresh: false, signal: ends })
      const pulled = await part('image.pull', { 'portico.image': reference }, () =>
        patient(this.#options.clock ?? systemClock, signal, late, pull),
      )
      name = pulled.image.name
    }
    throw new AppError('image_pull_failed', 'cannot use the image: it was removed as soon as it was here')
  }

  async #pull(reference: string, asked: PullAsked): Promise<PulledImage> {
    const { store } = this.#options
    if (!store) throw new AppError('image_pull_failed', 'cannot pull an image: this runner has no place for any')
    try {
      return await store.pull(reference, asked)
    } finally {
      // One that failed may have removed others, too, to have room.
      this.#changed()
    }
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}

/** Whole, all that lead to it. */
function namesOf({ name, references }: StoredImage): string[] {
  return [name, ...references]
}
