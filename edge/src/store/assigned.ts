/** The sandboxes that the edge has given to one runner. A row is unconfirmed until the runner has answered the create. */

import { statement } from './sql.ts'

export interface Assigned {
  readonly sandbox: string
  readonly generation: number
  readonly confirmed: boolean
  readonly since: number
  /** The runner's state of it that its object knows of; null if that is not certain, as while a call is under way that changes it. */
  readonly told: string | null
  readonly away: Away
  /** The sequence of the runner's last event of it that was taken; 0 if there is none of this session. */
  readonly heard: number
}

/** Whether its object was told that the runner is away: not, perhaps (it is being told), or surely. The runner's next word of it ends that. */
export type Away = 0 | 1 | 2

type AssignedRow = Omit<Assigned, 'confirmed'> & { confirmed: number }

const columns = 'sandbox, generation, confirmed, since, told, away, heard'

export class AssignedTable {
  readonly #put
  readonly #confirm
  readonly #tell
  readonly #get
  readonly #all
  readonly #remove
  readonly #mark
  readonly #reachable
  readonly #awake
  readonly #ask
  readonly #some
  readonly #counts
  readonly #heard
  readonly #unheard

  constructor(sql: SqlStorage) {
    this.#put = statement<never, [string, number, number, number, string | null]>(
      sql,
      `INSERT OR REPLACE INTO assigned (${columns}) VALUES (?, ?, ?, ?, ?, 0, 0)`,
    )
    this.#confirm = statement<never, [number, string, string, number]>(
      sql,
      'UPDATE assigned SET confirmed = 1, since = ?, told = ? WHERE sandbox = ? AND generation = ?',
    )
    this.#tell = statement<never, [string | null, string, number]>(
      sql,
      'UPDATE assigned SET told = ? WHERE sandbox = ? AND generation = ?',
    )
    this.#get = statement<AssignedRow, [string]>(sql, `SELECT ${columns} FROM assigned WHERE sandbox = ?`)
    this.#all = statement<AssignedRow>(sql, `SELECT ${columns} FROM assigned`)
    this.#remove = statement<never, [string, number]>(sql, 'DELETE FROM assigned WHERE sandbox = ? AND generation <= ?')
    this.#mark = statement<never, [Away, string, number]>(
      sql,
      'UPDATE assigned SET away = ? WHERE sandbox = ? AND generation = ?',
    )
    this.#reachable = statement<AssignedRow, [number]>(
      sql,
      `SELECT ${columns} FROM assigned WHERE confirmed = 1 AND away < 2 LIMIT ?`,
    )
    this.#awake = statement<AssignedRow, [number, number]>(
      sql,
      `SELECT ${columns} FROM assigned
       WHERE confirmed = 1 AND coalesce(told, '') NOT IN ('hibernated', 'error') AND asked <= ? ORDER BY asked LIMIT ?`,
    )
    this.#ask = statement<never, [number, string, number]>(
      sql,
      'UPDATE assigned SET asked = ? WHERE sandbox = ? AND generation = ?',
    )
    this.#some = statement<AssignedRow, [number]>(
      sql,
      `SELECT ${columns} FROM assigned WHERE coalesce(told, '') != 'error' LIMIT ?`,
    )
    this.#counts = statement<{ running: number; hibernated: number }>(
      sql,
      `SELECT count(CASE WHEN coalesce(told, '') NOT IN ('hibernated', 'error') THEN 1 END) AS running,
              count(CASE told WHEN 'hibernated' THEN 1 END) AS hibernated FROM assigned`,
    )
    this.#heard = statement<never, [number, string, number]>(
      sql,
      'UPDATE assigned SET heard = max(heard, ?) WHERE sandbox = ? AND generation = ?',
    )
    this.#unheard = statement<never>(sql, 'UPDATE assigned SET heard = 0 WHERE heard != 0')
  }

  /** In the place of what was there; its runner is taken to be there. */
  put(row: Omit<Assigned, 'away' | 'heard'>): void {
    this.#put.run(row.sandbox, row.generation, row.confirmed ? 1 : 0, row.since, row.told)
  }

  /** The runner has made it; one that was taken away meanwhile stays away. */
  confirm(sandbox: string, generation: number, told: string, now: number): void {
    this.#confirm.run(now, told, sandbox, generation)
  }

  tell(sandbox: string, generation: number, told: string | null): void {
    this.#tell.run(told, sandbox, generation)
  }

  mark(sandbox: string, generation: number, away: Away): void {
    this.#mark.run(away, sandbox, generation)
  }

  /** Some whose objects do not know for sure that the runner is away. */
  reachable(limit: number): Assigned[] {
    return this.#reachable.all(limit).map(assignedOf)
  }

  /** Some that run, or may, and were not asked to sleep since then; longest ago first. */
  awake(askedBefore: number, limit: number): Assigned[] {
    return this.#awake.all(askedBefore, limit).map(assignedOf)
  }

  /** Notes that it was asked to sleep. */
  ask(sandbox: string, generation: number, now: number): void {
    this.#ask.run(now, sandbox, generation)
  }

  /** Some of those of which something is left. */
  some(limit: number): Assigned[] {
    return this.#some.all(limit).map(assignedOf)
  }

  /** How many run, or may, and how many sleep. */
  counts(): { readonly running: number; readonly hibernated: number } {
    const { running, hibernated } = this.#counts.first() ?? { running: 0, hibernated: 0 }
    return { running, hibernated }
  }

  /** Notes that the runner's event with this sequence was taken. */
  heard(sandbox: string, generation: number, sequence: number): void {
    this.#heard.run(sequence, sandbox, generation)
  }

  /** The runner counts anew. */
  unheard(): void {
    this.#unheard.run()
  }

  get(sandbox: string): Assigned | undefined {
    const row = this.#get.first(sandbox)
    return row === undefined ? undefined : assignedOf(row)
  }

  all(): Assigned[] {
    return this.#all.all().map(assignedOf)
  }

  /** Removes this generation and older ones; a newer one stays. */
  remove(sandbox: string, generation: number): void {
    this.#remove.run(sandbox, generation)
  }
}

function assignedOf(row: AssignedRow): Assigned {
  return { ...row, confirmed: row.confirmed !== 0 }
}
