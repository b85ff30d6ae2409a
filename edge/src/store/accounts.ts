/** The platform's accounts, oldest first. */

import type { Account } from '../ports.ts'
import { statement } from './sql.ts'

export class AccountTable {
  readonly #insert
  readonly #list

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [string, string, string]>(
      sql,
      'INSERT INTO accounts (id, name, created_at) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name',
    )
    this.#list = statement<{ id: string; name: string; created_at: string }>(
      sql,
      'SELECT id, name, created_at FROM accounts ORDER BY created_at, id',
    )
  }

  add(account: Account): void {
    this.#insert.run(account.id, account.name, account.created_at)
  }

  list(): Account[] {
    return this.#list.all()
  }
}
