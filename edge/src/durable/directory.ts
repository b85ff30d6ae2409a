/**
 * The list of accounts, for the operator. An object of its own: accounts belong to no region, and a region's object is asked on every
 * create while this one is asked only by people.
 */

import { DurableObject } from 'cloudflare:workers'
import type { Env } from '../env.ts'
import type { Account, DirectoryPort } from '../ports.ts'
import { AccountTable } from '../store/accounts.ts'
import { directorySchema, migrate } from '../store/migrations.ts'

export class DirectoryObject extends DurableObject<Env> implements DirectoryPort {
  readonly #accounts: AccountTable

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    migrate(ctx.storage, directorySchema)
    this.#accounts = new AccountTable(ctx.storage.sql)
  }

  async add(account: Account): Promise<void> {
    this.#accounts.add(account)
  }

  async list(): Promise<Account[]> {
    return this.#accounts.list()
  }
}
