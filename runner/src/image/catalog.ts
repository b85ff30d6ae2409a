/**
 * The images that are there: by name and by the references that led to them, with who uses them. What is in memory and what is on disk change together
 * here; nothing is removed that is held, in use, or just being added.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { type Candidate, leastRecent } from './eviction.ts'
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
  /** The last change of an image's record. */
  readonly #turns = new Map<string, Promise<void>>()

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
    let before: string | undefined
    const record = await this.#inTurn(found.name, async () => {
      const known = this.#images.get(found.name)
      const references = [...(known?.references ?? []).filter((one) => one !== reference), reference]
      const added: ImageRecord = { schema: 1, ...found, references, usedAt: this.#options.clock.now() }
      await this.#options.records.write(added)
      this.#images.set(added.name, added)
      before = this.#references.get(reference)
      this.#references.set(reference, added.name)
      return added
    })
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
    await this.#drop([record])
  }

  /** What could be freed at most, in bytes. */
  get evictable(): number {
    return this.#candidates().reduce((sum, { bytes, free }) => sum + (free ? bytes : 0), 0)
  }

  /** Removes what was used least recently until `bytes` are freed; resolves with how many images went. */
  async free(bytes: number): Promise<number> {
    let removed = 0
    for (let left = bytes; left > 0; ) {
      // Chosen anew each time: while a file is removed, the next may be taken into use.
      const victim = leastRecent(this.#candidates())
      if (!victim) break
      const records = this.all().filter(({ rootfs }) => rootfs === victim.rootfs)
      await this.#drop(records)
      removed += records.length
      left -= victim.bytes
    }
    return removed
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

  /** Images of one file: out of memory at once, so that nobody takes them up any more, then from the disk. */
  async #drop(dropped: readonly ImageRecord[]): Promise<void> {
    const { records } = this.#options
    for (const { name, references } of dropped) {
      this.#images.delete(name)
      for (const reference of references)
        if (this.#references.get(reference) === name) this.#references.delete(reference)
    }
    for (const { name } of dropped)
      await this.#inTurn(name, async () => {
        if (!this.#images.has(name)) await records.remove(name)
      })
    for (const rootfs of new Set(dropped.map((record) => record.rootfs)))
      if (!this.hasLayers(rootfs) && !this.#pins.has(rootfs)) await records.removeErofs(rootfs)
  }

  async #forget(name: string, reference: string): Promise<void> {
    await this.#inTurn(name, async () => {
      const record = this.#images.get(name)
      // It may have come to lead here again.
      if (!record || this.#references.get(reference) === name) return
      const changed = { ...record, references: record.references.filter((one) => one !== reference) }
      this.#images.set(name, changed)
      await this.#options.records.write(changed)
    })
  }

  /** What changes an image's record on disk goes one after the other: the last to be written is then the last to be known. */
  async #inTurn<Value>(name: string, work: () => Promise<Value>): Promise<Value> {
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(work)
    const settled = turn.then(
      () => undefined,
      () => undefined,
    )
    this.#turns.set(name, settled)
    try {
      return await turn
    } finally {
      if (this.#turns.get(name) === settled) this.#turns.delete(name)
    }
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
