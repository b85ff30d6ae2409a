/** The ids of a sandbox's consoles. What they are stands with each console's own object. */

import { statement } from './sql.ts'

export class ConsoleIds {
  readonly #add
  readonly #remove
  readonly #all

  constructor(sql: SqlStorage) {
    this.#add = statement<never, [string]>(sql, 'INSERT INTO consoles (id) VALUES (?) ON CONFLICT (id) DO NOTHING')
    this.#remove = statement<never, [string]>(sql, 'DELETE FROM consoles WHERE id = ?')
    this.#all = statement<{ id: string }>(sql, 'SELECT id FROM consoles ORDER BY rowid')
  }

  add(id: string): void {
    this.#add.run(id)
  }

  remove(id: string): void {
    this.#remove.run(id)
  }

  /** Oldest first. */
  all(): string[] {
    return this.#all.all().map(({ id }) => id)
  }
}
