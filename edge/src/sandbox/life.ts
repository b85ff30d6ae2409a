/**
 * One sandbox's record in force: every change goes through here, is stored before anything else happens, sets the alarm that finishes
 * what an eviction would interrupt, is noted in the audit log where it means something, and reaches the account's index sooner or later.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { isFinal } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import { logFailure } from '../log.ts'
import { fromPlatform } from '../platform-errors.ts'
import type { AuditNote, Caller, Objects } from '../ports.ts'
import { type Fence, isCurrent } from './fence.ts'
import { auditNotes, happened } from './happened.ts'
import { indexEntry, nextAlarm, type SandboxRecord, storedRecord } from './record.ts'

/** Where the record is kept. */
export interface RecordStore {
  get(): SandboxRecord | undefined
  put(record: SandboxRecord): void
  /** Undefined takes the alarm away. */
  setAlarm(at: number | undefined): void
  clear(): Promise<void>
}

export interface LifeOptions {
  readonly store: RecordStore
  readonly objects: Objects
  readonly clock: Clock
  /** Adds lines to the audit log, stored together with the record. */
  readonly note: (notes: readonly AuditNote[]) => void
  /** Keeps the object awake until the work is done. */
  readonly background: (work: Promise<unknown>) => void
}

export class Life {
  readonly objects: Objects
  readonly clock: Clock
  readonly #store: RecordStore
  readonly #note: LifeOptions['note']
  readonly #background: (work: Promise<unknown>) => void
  readonly #flights = new Map<string, Promise<unknown>>()
  #record: SandboxRecord | undefined

  constructor(options: LifeOptions) {
    this.objects = options.objects
    this.clock = options.clock
    this.#store = options.store
    this.#note = options.note
    this.#background = options.background
  }

  get record(): SandboxRecord | undefined {
    if (this.#record === undefined) {
      const stored = this.#store.get()
      if (stored !== undefined) this.#record = storedRecord(stored)
    }
    return this.#record
  }

  /** The record of a sandbox that exists. */
  get known(): SandboxRecord {
    if (this.record === undefined) throw notFound()
    return this.record
  }

  /** Stores the first record. */
  begin(record: SandboxRecord): void {
    if (this.record !== undefined) throw new AppError('conflict', 'cannot create the sandbox: its id is in use')
    this.#write(this.#withEvents(undefined, record))
  }

  /** The one way to change a record. */
  change(patch: Partial<SandboxRecord>): SandboxRecord {
    const { known } = this
    return this.#write(this.#withEvents(known, { ...known, ...patch, version: known.version + 1 }))
  }

  /** Adds a line to the audit log about something that changed no state. */
  note(event: string, data: AuditNote['data']): void {
    this.#note([{ event, at: this.clock.now(), data }])
  }

  /** The end: from here on nothing changes but the index. Ending twice keeps the first. */
  end(usage: Usage | null, reason: string | null = this.known.reason): SandboxRecord {
    if (isFinal(this.known.state)) return this.known
    return this.change({ state: 'destroyed', reason, usage, ...over, endedAt: this.clock.now() })
  }

  /** The record, if it is this caller's and not over. */
  mine(caller: Caller): SandboxRecord {
    const { record } = this
    if (record?.account !== caller.account || record.region !== caller.region || record.state === 'destroyed') {
      throw notFound()
    }
    return record
  }

  /** The same, for everything but destroying it: what is on its way out is gone for its owner. */
  usable(caller: Caller): SandboxRecord {
    const record = this.mine(caller)
    if (record.state === 'destroying') throw notFound()
    return record
  }

  /** Sets the alarm again after it went off. */
  keepAlarm(): void {
    if (this.record !== undefined) this.#store.setAlarm(nextAlarm(this.record, this.clock.now()))
  }

  /** Whether work that captured this fence may still write. */
  holds(fence: Fence): boolean {
    return isCurrent(this.record, fence)
  }

  /** Joins work of this name that is under way, or starts it. */
  once<Value>(name: string, work: () => Promise<Value>): Promise<Value> {
    const flight = this.#flights.get(name) as Promise<Value> | undefined
    if (flight !== undefined) return flight
    const started = work().finally(() => this.#flights.delete(name))
    this.#flights.set(name, started)
    return started
  }

  isUnderWay(name: string): boolean {
    return this.#flights.has(name)
  }

  /** Work that nobody waits for. What the alarm goes on with is no failure of ours; the rest is logged. */
  inBackground(what: string, work: Promise<unknown>): void {
    this.#background(
      work.catch((thrown) => {
        const error = fromPlatform(thrown, what)
        if (error.code === 'internal') logFailure(what, error)
      }),
    )
  }

  /** Brings the account's index up to date. It does not fail: what could not be told now, the alarm tells. */
  async publish(): Promise<void> {
    while (this.known.indexed < this.known.version) {
      if (!(await this.once('publish', () => this.#tellAccount()))) return
    }
  }

  /** The account's index has this version; one that it should not have lost is told anew. */
  async retell(version: number): Promise<void> {
    if (version < this.known.indexed) this.#write({ ...this.known, indexed: version })
    await this.publish()
  }

  /** Forgets everything, long after the end. */
  async clear(): Promise<void> {
    this.#record = undefined
    await this.#store.clear()
  }

  async #tellAccount(): Promise<boolean> {
    const told = this.known
    try {
      await this.objects.account(told.account).index(indexEntry(told))
    } catch (thrown) {
      logFailure('tell the account', fromPlatform(thrown, 'tell the account'))
      return false
    }
    const happenings = this.known.happenings.filter(({ version }) => version > told.version)
    this.#write({ ...this.known, indexed: told.version, happenings })
    return true
  }

  /** The record with what has happened to it, for its account, and the same noted in the audit log. */
  #withEvents(before: SandboxRecord | undefined, record: SandboxRecord): SandboxRecord {
    const events = happened(before, record)
    if (events.length === 0) return record
    const at = this.clock.now()
    this.#note(auditNotes(events, record, at))
    const happenings = events.map((event) => ({ version: record.version, event, at }))
    return { ...record, happenings: [...record.happenings, ...happenings].slice(-mostHappenings) }
  }

  #write(record: SandboxRecord): SandboxRecord {
    this.#record = record
    this.#store.put(record)
    this.#store.setAlarm(nextAlarm(record, this.clock.now()))
    return record
  }
}

/** More than could gather while an account's object is away, as long as nobody makes a sandbox flap. */
const mostHappenings = 500
const over = { runningSince: null, retryAt: null }

export function notFound(): AppError {
  return new AppError('sandbox_not_found', 'cannot find the sandbox: there is none with this id')
}
