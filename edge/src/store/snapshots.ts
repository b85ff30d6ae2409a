/** An account's snapshots. One without a size is noted but not kept yet: its runner may or may not have it. */

import type { Snapshot } from '../ports.ts'
import { statement } from './sql.ts'

type SnapshotRow = {
  id: string
  region: string
  run: string
  runner: string
  size_bytes: number | null
  created_at: number
  resolved_image: string
  spec: string
  image: string | null
}

/** A snapshot of which nobody knows yet whether its runner has it. */
export interface PendingSnapshot {
  readonly id: string
  readonly runner: string
  readonly createdAt: number
}

const listed = 1000

export class SnapshotTable {
  readonly #insert
  readonly #keep
  readonly #get
  readonly #list
  readonly #pending
  readonly #remove
  readonly #noted
  readonly #release

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [string, string, string, string, number, string, string, string | null]>(
      sql,
      `INSERT INTO snapshots (id, region, run, runner, created_at, resolved_image, spec, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO NOTHING`,
    )
    this.#keep = statement<never, [number, string]>(
      sql,
      'UPDATE snapshots SET size_bytes = ? WHERE id = ? AND dropped = 0',
    )
    this.#get = statement<SnapshotRow, [string]>(sql, 'SELECT * FROM snapshots WHERE id = ? AND size_bytes IS NOT NULL')
    this.#list = statement<SnapshotRow, [string, number]>(
      sql,
      `SELECT * FROM snapshots WHERE region = ? AND size_bytes IS NOT NULL AND image IS NULL ORDER BY created_at DESC, rowid DESC LIMIT ?`,
    )
    this.#pending = statement<SnapshotRow>(sql, 'SELECT * FROM snapshots WHERE size_bytes IS NULL ORDER BY created_at')
    this.#remove = statement<never, [string]>(sql, 'DELETE FROM snapshots WHERE id = ?')
    this.#release = statement<never, [string]>(
      sql,
      `UPDATE snapshots SET dropped = 1, size_bytes = NULL, created_at = CASE WHEN size_bytes IS NULL THEN created_at ELSE 0 END
       WHERE image = ? AND dropped = 0`,
    )
    this.#noted = statement<{ noted: number }, [string]>(sql, 'SELECT 1 AS noted FROM snapshots WHERE id = ?')
  }

  begin({ id, region, run, runner, createdAt, resolvedImage, spec, image }: Omit<Snapshot, 'sizeBytes'>): void {
    this.#insert.run(id, region, run, runner, createdAt, resolvedImage, JSON.stringify(spec), image ?? null)
  }

  /** Whether it was begun, be it kept by now or not. */
  isNoted(id: string): boolean {
    return this.#noted.first(id) !== undefined
  }

  /** The snapshot as it is from now on, or undefined if it was given up meanwhile. */
  keep(id: string, sizeBytes: number): Snapshot | undefined {
    this.#keep.run(sizeBytes, id)
    return this.get(id)
  }

  get(id: string): Snapshot | undefined {
    const row = this.#get.first(id)
    return row === undefined ? undefined : snapshotOf(row)
  }

  /** Not those that images are made of. */
  list(region: string): Snapshot[] {
    return this.#list.all(region, listed).map(snapshotOf)
  }

  /** Oldest first. */
  pending(): PendingSnapshot[] {
    return this.#pending.all().map((row) => ({ id: row.id, runner: row.runner, createdAt: row.created_at }))
  }

  /** What an image was made of is swept from its runner: at once, or, where it may still be made, later. True if there is something to sweep. */
  release(image: string): boolean {
    return this.#release.run(image) > 0
  }

  remove(id: string): void {
    this.#remove.run(id)
  }
}

function snapshotOf(row: SnapshotRow): Snapshot {
  return {
    id: row.id,
    region: row.region,
    run: row.run,
    runner: row.runner,
    sizeBytes: row.size_bytes ?? 0,
    createdAt: row.created_at,
    resolvedImage: row.resolved_image,
    spec: JSON.parse(row.spec) as Snapshot['spec'],
    ...(row.image === null ? {} : { image: row.image }),
  }
}
