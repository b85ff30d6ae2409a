/**
 * An account's sandboxes: a copy of each record, kept up to date by the sandbox's own object. Those that are over stay, with their usage;
 * one that never ran has none. What all that are over used together is a running total, so nobody has to add it up.
 */

import type { RunRecord, RunStatus } from '@portico/shared/api'
import type { Usage } from '@portico/shared/usage'
import type { IndexEntry } from '../ports.ts'
import { type SqlValue, statement } from './sql.ts'

/** What records say that were written by an older edge. */
const oldDefaults = { auto_resume: false, on_idle: 'destroy', labels: {} } as const

type Held = { version: number; over: number; usage: string | null; vcpus: number; mem_mib: number }
type Sums = { sandboxes: number; vcpu_ms: number; mib_ms: number; cpu_ms: number }
type RecordRow = { record: string; created_at: number; id: string }
type OverRow = { record: string; ended_at: number; usage: string; id: string }

/** What sandboxes used together: machine sizes times milliseconds, and measured processor time. */
export interface Sum {
  readonly sandboxes: number
  readonly vcpuMs: number
  readonly mibMs: number
  readonly cpuMs: number
}

/** A place in a list: the last row of the page before. */
export interface Place {
  readonly at: number
  readonly id: string
}

export interface ListFilter {
  readonly region: string
  readonly states?: readonly RunStatus[] | undefined
  readonly name?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly after?: Place | undefined
  readonly limit: number
}

/** A sandbox that is over. */
export interface Over {
  readonly record: RunRecord
  readonly endedAt: number
  readonly usage: Usage
}

const beforeAll: Place = { at: Number.MAX_SAFE_INTEGER, id: '' }

export class SandboxIndex {
  readonly #held
  readonly #put
  readonly #list
  readonly #over
  readonly #add
  readonly #totals
  readonly #active
  readonly #unchecked
  readonly #oldest
  readonly #check
  readonly #forget

  constructor(sql: SqlStorage) {
    this.#held = statement<Held, [string]>(
      sql,
      'SELECT version, ended_at IS NOT NULL AS over, usage, vcpus, mem_mib FROM sandboxes WHERE id = ?',
    )
    this.#put = statement<never, SqlValue[]>(sql, putText)
    this.#list = statement<RecordRow, SqlValue[]>(sql, listText)
    this.#over = statement<OverRow, [string, number, string, number]>(sql, overText)
    this.#add = statement<never, [number, number, number, number]>(
      sql,
      `UPDATE totals SET sandboxes = sandboxes + ?, vcpu_ms = vcpu_ms + ?, mib_ms = mib_ms + ?, cpu_ms = cpu_ms + ?`,
    )
    this.#totals = statement<Sums>(sql, 'SELECT sandboxes, vcpu_ms, mib_ms, cpu_ms FROM totals')
    this.#active = statement<Sums, [number]>(sql, activeText)
    this.#unchecked = statement<{ id: string; version: number }, [number, number]>(
      sql,
      `SELECT id, version FROM sandboxes WHERE ended_at IS NULL AND checked_at < ? ORDER BY checked_at LIMIT ?`,
    )
    this.#oldest = statement<{ at: number | null }>(
      sql,
      'SELECT MIN(checked_at) AS at FROM sandboxes WHERE ended_at IS NULL',
    )
    this.#check = statement<never, [number, string]>(sql, 'UPDATE sandboxes SET checked_at = ? WHERE id = ?')
    this.#forget = statement<never, [string]>(sql, 'DELETE FROM sandboxes WHERE id = ? AND ended_at IS NULL')
  }

  /**
   * Takes an entry; an older version than the one held changes nothing. Answers the version held before, 0 if there was none, so that
   * the caller can tell what is new. Belongs into a transaction.
   */
  put(entry: IndexEntry, now: number): number {
    const { version, state, record, createdAt, endedAt, usage, runningSince } = entry
    const held = this.#held.first(record.id)
    if (held !== undefined && held.version >= version) return held.version
    const text = usage === null ? null : JSON.stringify(usage)
    const place = [record.id, record.region, state, version, JSON.stringify(record)]
    this.#put.run(...place, createdAt, endedAt, text, runningSince, now)
    if (held?.over === 1 && held.usage !== null) this.#count(-1, held, JSON.parse(held.usage) as Usage)
    if (endedAt !== null && usage !== null) this.#count(1, record, usage)
    return held?.version ?? 0
  }

  /** Of those that are not over, newest first. */
  list({ region, states, name, labels, after = beforeAll, limit }: ListFilter): { record: RunRecord; place: Place }[] {
    const wanted = labels === undefined ? null : JSON.stringify(labels)
    const statuses = states === undefined ? null : JSON.stringify(states)
    const rows = this.#list.all(
      region,
      after.at,
      after.id,
      statuses,
      statuses,
      name ?? null,
      name ?? null,
      wanted,
      limit,
    )
    return rows.map(({ record, created_at, id }) => ({ record: read(record), place: { at: created_at, id } }))
  }

  /** Those that are over and ever ran, by their end, the last first. */
  over(region: string, limit: number, after: Place = beforeAll): Over[] {
    const rows = this.#over.all(region, after.at, after.id, limit)
    return rows.map(({ record, ended_at, usage }) => ({
      record: read(record),
      endedAt: ended_at,
      usage: JSON.parse(usage) as Usage,
    }))
  }

  /** What those that are over used. */
  totalOver(): Sum {
    return sumOf(this.#totals.first())
  }

  /** What those that are not over have used so far, by their last figures and the time since. */
  totalActive(now: number): Sum {
    return sumOf(this.#active.first(now))
  }

  /** Sandboxes that are not over and were not heard of since, the longest silent first. */
  unchecked(since: number, limit: number): { id: string; version: number }[] {
    return this.#unchecked.all(since, limit)
  }

  /** When the one that was silent the longest was heard of. */
  oldestCheck(): number | undefined {
    return this.#oldest.first()?.at ?? undefined
  }

  checked(id: string, now: number): void {
    this.#check.run(now, id)
  }

  /** Takes out one that is not over, as there is no such sandbox. */
  forget(id: string): void {
    this.#forget.run(id)
  }

  #count(sign: 1 | -1, { vcpus, mem_mib }: { vcpus: number; mem_mib: number }, usage: Usage): void {
    const ms = sign * usage.uptime_ms
    this.#add.run(sign, ms * vcpus, ms * mem_mib, sign * usage.cpu_ms)
  }
}

const putText = `INSERT INTO sandboxes
    (id, region, state, version, record, created_at, ended_at, usage, running_since, checked_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET state = excluded.state, version = excluded.version, record = excluded.record,
    ended_at = excluded.ended_at, usage = excluded.usage, running_since = excluded.running_since,
    checked_at = excluded.checked_at`

const listText = `SELECT record, created_at, id FROM sandboxes
  WHERE region = ? AND ended_at IS NULL AND state <> 'destroying' AND (created_at, id) < (?, ?)
    AND (? IS NULL OR json_extract(record, '$.status') IN (SELECT value FROM json_each(?)))
    AND (? IS NULL OR json_extract(record, '$.name') = ?)
    AND NOT EXISTS (SELECT 1 FROM json_each(?) AS asked WHERE NOT EXISTS (
      SELECT 1 FROM json_each(record, '$.labels') AS given WHERE given.key = asked.key AND given.value = asked.value))
  ORDER BY created_at DESC, id DESC LIMIT ?`

const overText = `SELECT record, ended_at, usage, id FROM sandboxes
  WHERE region = ? AND ended_at IS NOT NULL AND usage IS NOT NULL AND (ended_at, id) < (?, ?)
  ORDER BY ended_at DESC, id DESC LIMIT ?`

const activeText = `SELECT COUNT(*) FILTER (WHERE state <> 'destroying') AS sandboxes, TOTAL(vcpus * ran) AS vcpu_ms,
    TOTAL(mem_mib * ran) AS mib_ms, TOTAL(cpu) AS cpu_ms
  FROM (SELECT state, vcpus, mem_mib, json_extract(usage, '$.cpu_ms') AS cpu,
      1.0 * COALESCE(json_extract(usage, '$.uptime_ms'), 0) + MAX(0, COALESCE(? - running_since, 0)) AS ran
    FROM sandboxes WHERE ended_at IS NULL)`

function sumOf(sums: Sums | undefined): Sum {
  const { sandboxes = 0, vcpu_ms = 0, mib_ms = 0, cpu_ms = 0 } = sums ?? {}
  return { sandboxes, vcpuMs: vcpu_ms, mibMs: mib_ms, cpuMs: cpu_ms }
}

function read(record: string): RunRecord {
  return { ...oldDefaults, ...(JSON.parse(record) as RunRecord) }
}
