/** What was set of one sandbox's ports. A row stays when it says what holds anyway: its version must not come again. */

import { portAccess, portHost } from '@portico/shared/api'
import type { PortSetting } from '../ports.ts'
import { statement } from './sql.ts'

type PortRow = { port: number; access: string; host: string; version: number }

export class PortSettings {
  readonly #all
  readonly #get
  readonly #count
  readonly #set

  constructor(sql: SqlStorage) {
    this.#all = statement<PortRow>(sql, 'SELECT port, access, host, version FROM ports ORDER BY port')
    this.#get = statement<PortRow, [number]>(sql, 'SELECT port, access, host, version FROM ports WHERE port = ?')
    this.#count = statement<{ count: number }>(sql, 'SELECT COUNT(*) AS count FROM ports')
    this.#set = statement<never, [number, string, string, number]>(
      sql,
      'INSERT OR REPLACE INTO ports (port, access, host, version) VALUES (?, ?, ?, ?)',
    )
  }

  all(): Record<number, PortSetting> {
    return Object.fromEntries(this.#all.all().map((row) => [row.port, settingOf(row)]))
  }

  get(port: number): PortSetting | undefined {
    const row = this.#get.first(port)
    return row === undefined ? undefined : settingOf(row)
  }

  get count(): number {
    return this.#count.first()?.count ?? 0
  }

  set(port: number, { access, host, version }: PortSetting): void {
    this.#set.run(port, access, host, version)
  }
}

function settingOf({ access, host, version }: PortRow): PortSetting {
  return { access: portAccess.parse(access), host: portHost.parse(host), version }
}
