/**
 * One sandbox's audit log. A line gets its place at once, in the same write as what it is about, so none is lost and none is out of order;
 * its seal needs the account's key and is made soon after, in batches, and before anybody reads. It only grows, up to a limit that is itself
 * a line. Lines of calls end before that: who may only use the sandbox cannot keep its life out of the log.
 */

import type { AuditEntry } from '@portico/shared/api'
import { auditGenesis, importAuditKey, sealEntry, type Unsealed } from '@portico/shared/audit'
import type { AuditNote, AuditPage } from '../ports.ts'
import type { AuditEntries, EntryRow } from '../store/audit-entries.ts'

export interface AuditLimits {
  readonly entries: number
  readonly bytes: number
}

export interface AuditBounds {
  readonly most: AuditLimits
  /** So much of it is kept from calls, for what happens to the sandbox. */
  readonly reserve: AuditLimits
}

const usualBounds: AuditBounds = {
  most: { entries: 100_000, bytes: 67_108_864 },
  reserve: { entries: 1000, bytes: 1_048_576 },
}
const full = 'audit.full'
/** Each comes once in a life at most, and always has room: a log without its end would look as if it had been cut. */
const ends = ['sandbox.destroyed', 'sandbox.lost']
const sealedAtOnce = 256
/** So many lines are worth a batch of seals; fewer wait for more, or for a reader. */
const worthSealing = 64
const pageEntries = 256
const pageBytes = 524_288

export interface AuditOptions {
  /** Called before each use, as the table exists only once there is something to write. */
  readonly entries: () => AuditEntries
  readonly sandbox: () => string
  /** The account's key in hex. */
  readonly key: () => Promise<string>
  readonly bounds?: AuditBounds
}

export class AuditLog {
  readonly #options: AuditOptions
  readonly #most: AuditLimits
  readonly #mostCalls: AuditLimits
  #sealing: Promise<void> | undefined
  /** Lines that were added since the last seal, as far as memory goes. */
  #fresh = 0
  #key: CryptoKey | undefined

  constructor(options: AuditOptions) {
    this.#options = options
    const { most, reserve } = options.bounds ?? usualBounds
    this.#most = most
    this.#mostCalls = { entries: most.entries - reserve.entries, bytes: most.bytes - reserve.bytes }
  }

  /** Adds lines about the sandbox's life. */
  add(notes: readonly AuditNote[]): void {
    this.#append(notes, this.#most)
  }

  /** Adds lines about calls. The first that has no room leaves an `audit.full`, and none follows it. */
  addCalls(notes: readonly AuditNote[]): void {
    if (!this.#options.entries().saysFull) this.#append(notes, this.#mostCalls)
  }

  /** Whether there are enough lines without a seal to make it worth while. */
  get isWorthSealing(): boolean {
    return this.#fresh >= worthSealing
  }

  /** Seals what has no seal yet. */
  async seal(): Promise<void> {
    this.#fresh = 0
    while (this.#options.entries().unsealed(1).length > 0) {
      this.#sealing ??= this.#sealSome().finally(() => {
        this.#sealing = undefined
      })
      await this.#sealing
    }
  }

  /** Lines from this number on, as many as fit one page. */
  async page(from: number): Promise<AuditPage> {
    await this.seal()
    const entries = this.#options.entries()
    const tail = entries.tail()
    const lines: string[] = []
    let bytes = 0
    for (const row of entries.page(from, pageEntries)) {
      const line = JSON.stringify({ ...this.#unsealed(row), hmac: row.hmac ?? '' } satisfies AuditEntry)
      lines.push(line)
      bytes += line.length
      if (bytes >= pageBytes) break
    }
    const count = (tail?.seq ?? -1) + 1
    const next = from + lines.length
    return { lines, next: lines.length > 0 && next < count ? next : null, entries: count, last: tail?.hmac ?? null }
  }

  #append(notes: readonly AuditNote[], limits: AuditLimits): void {
    if (notes.length === 0) return
    const entries = this.#options.entries()
    const tail = entries.tail()
    let seq = (tail?.seq ?? -1) + 1
    let total = tail?.total ?? 0
    for (const { event, at, data } of notes) {
      const text = JSON.stringify(data)
      if (ends.includes(event) || (seq < limits.entries && total + text.length <= limits.bytes)) {
        total += text.length
        entries.add(seq++, at, event, text, total)
      } else if (!entries.saysFull) {
        entries.add(seq++, at, full, '{}', total)
        // Of calls nothing is to follow, however small.
        if (limits === this.#mostCalls) break
      }
    }
    this.#fresh += seq - ((tail?.seq ?? -1) + 1)
  }

  async #sealSome(): Promise<void> {
    this.#key ??= await importAuditKey(await this.#options.key())
    const entries = this.#options.entries()
    const rows = entries.unsealed(sealedAtOnce)
    const first = rows[0]?.seq ?? 0
    let previous = first === 0 ? auditGenesis : (entries.hmac(first - 1) ?? auditGenesis)
    for (const row of rows) {
      previous = await sealEntry(this.#key, previous, this.#unsealed(row))
      entries.seal(row.seq, previous)
    }
  }

  #unsealed({ seq, at, event, data }: EntryRow): Unsealed {
    const parsed = JSON.parse(data) as AuditEntry['data']
    return { seq, ts: new Date(at).toISOString(), sandbox_id: this.#options.sandbox(), event, data: parsed }
  }
}
