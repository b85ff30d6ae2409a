/**
 * The images that are there: by name and by the references that led to them, with who uses them. What is in memory and what is on disk change together
 * here; nothing is removed that is held, in use, or just being added.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { type Candidate, chooseVictims } from './eviction.ts'
import type { ImageRecord, Records } from './records.ts'
import { formatReference, isReference, parseReference, repositoryOf } from './reference.ts'

export interface CatalogOptions {
  readonly records: Records
  readonly clock: Clock
  readonly inUse: () => Iterable<string>
}

export class Catalog {
  readonly #options: CatalogOptions
  readonly #images = new Map<string, ImageRecord>()
  readonly #references = new Map<string, string>()
  readonly #holds = new Map<string, number>()
  /** Files that somebody is about to use. */
  readonly #pins = new Map<string, number>()

  constructor(options: CatalogOptions, found: readonly ImageRecord[]) {
    this.#options = options
    for (const record of [...found].sort((a, b) => a.usedAt - b.usedAt)) {
      this.#images.set(record.name, record)
      for (const reference of record.references) this.#references.set(reference, record.name)
    }
  }

  get size(): number {
    return this.#images.size
  }

  /** On disk: a file that several images share counts once. */
  get bytes(): number {
    return this.#candidates().reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Most recently used first. */
  all(): ImageRecord[] {
    return [...this.#images.values()].sort((a, b) => b.usedAt - a.usedAt)
  }

  /** By resolved name, or by any spelling of a reference that led to it. */
  find(text: string): ImageRecord | undefined {
    const direct = this.#images.get(text)
    if (direct || !isReference(text)) return direct
    const reference = parseReference(text)
    const { digest } = reference
    const named = digest === undefined ? undefined : this.#images.get(`${repositoryOf(reference)}@${digest}`)
    return named ?? this.#images.get(this.#references.get(formatReference(reference)) ?? '')
  }

  /** Whether the file of these layers is there. */
  hasLayers(rootfs: string): ImageRecord | undefined {
    for (const record of this.#images.values()) if (record.rootfs === rootfs) return record
    return undefined
  }

  /** Notes a use. */
  touch(record: ImageRecord): ImageRecord {
    const touched = { ...record, usedAt: Math.max(this.#options.clock.now(), record.usedAt) }
    this.#images.set(record.name, touched)
    this.#options.records.touch(record.name, touched.usedAt)
    return touched
  }

  /** Adds an image, or that a reference leads to it now. */
  async add(found: Omit<ImageRecord, 'references' | 'usedAt' | 'schema'>, reference: string): Promise<ImageRecord> {
    const known = this.#images.get(found.name)
    const references = [...(known?.references ?? []).filter((one) => one !== reference), reference]
    const record: ImageRecord = { schema: 1, ...found, references, usedAt: this.#options.clock.now() }
    await this.#options.records.write(record)
    this.#images.set(record.name, record)
    const before = this.#references.get(reference)
    this.#references.set(reference, record.name)
    if (before !== undefined && before !== record.name) await this.#forget(before, reference)
    return record
  }

  /** Keeps an image from being removed until the answer is disposed of. */
  hold(name: string): Disposable {
    return count(this.#holds, name)
  }

  /** Keeps a file from being removed while an image of it is added; what then belongs to no image goes. */
  pin(rootfs: string): AsyncDisposable {
    const pin = count(this.#pins, rootfs)
    return {
      [Symbol.asyncDispose]: async () => {
        pin[Symbol.dispose]()
        if (!this.#pins.has(rootfs) && !this.hasLayers(rootfs)) await this.#options.records.removeErofs(rootfs)
      },
    }
  }

  async remove(record: ImageRecord): Promise<void> {
    if (!this.#isFree(new Set(this.#options.inUse()))(record))
      throw new AppError('conflict', `cannot remove the image ${record.name}: it is in use`)
    await this.#drop(record)
  }

  /** Removes what was used least recently until `bytes` are freed; resolves with how many images went. */
  async free(bytes: number): Promise<number> {
    const victims = new Set(chooseVictims(this.#candidates(), bytes))
    const records = this.all().filter(({ rootfs }) => victims.has(rootfs))
    for (const record of records) await this.#drop(record)
    return records.length
  }

  #candidates(): Candidate[] {
    const isFree = this.#isFree(new Set(this.#options.inUse()))
    const groups = new Map<string, Candidate>()
    for (const record of this.#images.values()) {
      const { rootfs, sizeBytes: bytes } = record
      const { usedAt = 0, free = true } = groups.get(rootfs) ?? {}
      groups.set(rootfs, { rootfs, bytes, usedAt: Math.max(usedAt, record.usedAt), free: free && isFree(record) })
    }
    return [...groups.values()]
  }

  #isFree(used: ReadonlySet<string>): (record: ImageRecord) => boolean {
    return ({ name, rootfs }) => !used.has(name) && !this.#holds.has(name) && !this.#pins.has(rootfs)
  }

  /** Out of memory at once, so that nobody takes it up any more, then from the disk. */
  async #drop(record: ImageRecord): Promise<void> {
    this.#images.delete(record.name)
    for (const reference of record.references)
      if (this.#references.get(reference) === record.name) this.#references.delete(reference)
    await this.#options.records.remove(record.name)
    if (!this.hasLayers(record.rootfs) && !this.#pins.has(record.rootfs))
      await this.#options.records.removeErofs(record.rootfs)
  }

  async #forget(name: string, reference: string): Promise<void> {
    const record = this.#images.get(name)
    if (!record) return
    const changed = { ...record, references: record.references.filter((one) => one !== reference) }
    this.#images.set(name, changed)
    await this.#options.records.write(changed)
  }
}

function count(counts: Map<string, number>, key: string): Disposable {
  counts.set(key, (counts.get(key) ?? 0) + 1)
  let counted = true
  return {
    [Symbol.dispose]() {
      if (!counted) return
      counted = false
      const left = (counts.get(key) ?? 1) - 1
      if (left > 0) counts.set(key, left)
      else counts.delete(key)
    },
  }
}
