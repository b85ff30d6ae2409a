/** One account: its keys and the index of its sandboxes. It exists once it was opened; nothing is written for an id that was not. */

import { DurableObject } from 'cloudflare:workers'
import type { RunRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { Env } from '../env.ts'
import { type Outcome, outcome } from '../outcome.ts'
import type { Account, AccountPort, IndexEntry, Key, SecretRecord } from '../ports.ts'
import { KeyTable } from '../store/keys.ts'
import { accountSchema, migrate } from '../store/migrations.ts'
import { SandboxIndex } from '../store/sandbox-index.ts'

interface Tables {
  readonly keys: KeyTable
  readonly sandboxes: SandboxIndex
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
    this.#tables = { keys: new KeyTable(sql), sandboxes: new SandboxIndex(sql) }
    return this.#tables
  }
}
