/** One account: its keys, the index of its sandboxes, and its snapshots. It exists once it was opened; nothing is written for an id that was not. */

import { DurableObject } from 'cloudflare:workers'
import type { RunRecord } from '@portico/shared/api'
import { systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import type { Env } from '../env.ts'
import { type Outcome, outcome } from '../outcome.ts'
import type { Account, AccountPort, IndexEntry, Key, SecretRecord, Snapshot } from '../ports.ts'
import { deleteSnapshot, findSnapshot, pendingMs, sweepSnapshots } from '../snapshot/kept.ts'
import { KeyTable } from '../store/keys.ts'
import { accountSchema, migrate } from '../store/migrations.ts'
import { SandboxIndex } from '../store/sandbox-index.ts'
import { SnapshotTable } from '../store/snapshots.ts'
import { objectsOf } from './objects.ts'

interface Tables {
  readonly keys: KeyTable
  readonly sandboxes: SandboxIndex
  readonly snapshots: SnapshotTable
}

export class AccountObject extends DurableObject<Env> implements AccountPort {
  #tables: Tables | undefined

  async open(account: Account): Promise<void> {
    migrate(this.ctx.storage, accountSchema)
    this.ctx.storage.kv.put('account', account)
  }

  async read(): Promise<Account | null> {
    return this.ctx.storage.kv.get<Account>('account') ?? null
  }

  addKey(key: Key, hash: string): Promise<Outcome<void>> {
    return outcome('add a key', () => this.#opened().keys.add(key, hash))
  }

  keys(): Promise<Outcome<Key[]>> {
    return outcome('list keys', () => this.#opened().keys.list())
  }

  revokeKey(id: string, at: string): Promise<Outcome<Key>> {
    return outcome('revoke a key', () => {
      const key = this.#opened().keys.revoke(id, at)
      if (key === undefined) throw new AppError('not_found', 'cannot revoke the key: the account has no such key')
      return key
    })
  }

  async key(id: string): Promise<SecretRecord | null> {
    return this.#find()?.keys.secret(id) ?? null
  }

  async index(entry: IndexEntry): Promise<void> {
    this.#opened().sandboxes.put(entry)
  }

  async active(region: string): Promise<RunRecord[]> {
    return this.#find()?.sandboxes.active(region) ?? []
  }

  beginSnapshot(snapshot: Omit<Snapshot, 'sizeBytes'>): Promise<Outcome<void>> {
    return outcome('begin a snapshot', async () => {
      this.#opened().snapshots.begin(snapshot)
      await this.#sweepLater()
    })
  }

  keepSnapshot(id: string, sizeBytes: number): Promise<Outcome<Snapshot>> {
    return outcome('keep a snapshot', () => {
      const kept = this.#opened().snapshots.keep(id, sizeBytes)
      if (kept === undefined) throw new AppError('conflict', 'cannot keep the snapshot: it was given up meanwhile')
      return kept
    })
  }

  async dropSnapshot(id: string): Promise<void> {
    this.#find()?.snapshots.remove(id)
  }

  async snapshots(region: string): Promise<Snapshot[]> {
    return this.#find()?.snapshots.list(region) ?? []
  }

  snapshot(region: string, id: string): Promise<Outcome<Snapshot>> {
    return outcome('find a snapshot', () => findSnapshot(this.#find()?.snapshots, region, id))
  }

  deleteSnapshot(region: string, id: string): Promise<Outcome<void>> {
    return outcome('delete a snapshot', () => deleteSnapshot(this.#find()?.snapshots, objectsOf(this.env), region, id))
  }

  /** Looks after snapshots of which nobody knows whether their runner has them. */
  override async alarm(): Promise<void> {
    const tables = this.#find()
    if (tables === undefined) return
    await sweepSnapshots(tables.snapshots, objectsOf(this.env), systemClock)
    if (tables.snapshots.pending().length > 0) await this.#sweepLater()
  }

  /** An alarm that is set already comes sooner, and sets the next. */
  async #sweepLater(): Promise<void> {
    if ((await this.ctx.storage.getAlarm()) !== null) return
    await this.ctx.storage.setAlarm(systemClock.now() + pendingMs)
  }

  #opened(): Tables {
    const tables = this.#find()
    if (tables === undefined) throw new AppError('not_found', 'cannot find the account: there is none with this id')
    return tables
  }

  #find(): Tables | undefined {
    if (this.#tables !== undefined) return this.#tables
    if (this.ctx.storage.kv.get('account') === undefined) return undefined
    migrate(this.ctx.storage, accountSchema)
    const sql = this.ctx.storage.sql
    this.#tables = { keys: new KeyTable(sql), sandboxes: new SandboxIndex(sql), snapshots: new SnapshotTable(sql) }
    return this.#tables
  }
}
