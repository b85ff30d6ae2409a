/** An account's images in all of its regions, and the names that lead to them. A name leads to one image of a region at most. */

import type { ImageRecord } from '@portico/shared/api'
import type { ImageEntry } from '../ports.ts'
import { statement } from './sql.ts'

type ImageRow = {
  id: string
  region: string
  version: number
  status: string
  record: string
  asked: string | null
  snapshot: string | null
  created_at: number
}

const listed = 1000

export class ImageTable {
  readonly #put
  readonly #get
  readonly #list
  readonly #counts
  readonly #oldestFailed
  readonly #remove
  readonly #named
  readonly #name
  readonly #nameIfFree
  readonly #namesOf
  readonly #unname
  readonly #drop
  readonly #drops
  readonly #dropped

  constructor(sql: SqlStorage) {
    this.#put = statement<never, [string, string, number, string, string, string | null, string | null, number]>(
      sql,
      `INSERT INTO images (id, region, version, status, record, asked, snapshot, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET version = excluded.version, status = excluded.status, record = excluded.record,
         snapshot = excluded.snapshot`,
    )
    this.#get = statement<ImageRow, [string]>(sql, 'SELECT * FROM images WHERE id = ?')
    this.#list = statement<ImageRow, [string, number]>(
      sql,
      'SELECT * FROM images WHERE region = ? ORDER BY created_at DESC, rowid DESC LIMIT ?',
    )
    this.#counts = statement<{ images: number; busy: number }>(
      sql,
      "SELECT COUNT(*) AS images, TOTAL(status IN ('pulling', 'building')) AS busy FROM images",
    )
    this.#oldestFailed = statement<{ id: string }>(
      sql,
      "SELECT id FROM images WHERE status = 'failed' ORDER BY created_at, rowid LIMIT 1",
    )
    this.#remove = statement<never, [string]>(sql, 'DELETE FROM images WHERE id = ?')
    this.#named = statement<{ image: string }, [string, string]>(
      sql,
      'SELECT image FROM image_names WHERE region = ? AND name = ?',
    )
    this.#name = statement<never, [string, string, string]>(
      sql,
      `INSERT INTO image_names (region, name, image) VALUES (?, ?, ?)
       ON CONFLICT (region, name) DO UPDATE SET image = excluded.image`,
    )
    this.#nameIfFree = statement<never, [string, string, string]>(
      sql,
      'INSERT INTO image_names (region, name, image) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
    )
    this.#namesOf = statement<{ names: number }, [string]>(
      sql,
      'SELECT COUNT(*) AS names FROM image_names WHERE image = ?',
    )
    this.#unname = statement<never, [string]>(sql, 'DELETE FROM image_names WHERE image = ?')
    this.#drop = statement<never, [string, number]>(
      sql,
      'INSERT INTO image_drops (image, since) VALUES (?, ?) ON CONFLICT DO NOTHING',
    )
    this.#drops = statement<{ image: string; since: number }>(
      sql,
      'SELECT image, since FROM image_drops ORDER BY since',
    )
    this.#dropped = statement<never, [string]>(sql, 'DELETE FROM image_drops WHERE image = ?')
  }

  put({ id, region, version, record, asked, snapshot, createdAt }: ImageEntry): void {
    this.#put.run(id, region, version, record.status, JSON.stringify(record), asked, snapshot, createdAt)
  }

  get(id: string): ImageEntry | undefined {
    const row = this.#get.first(id)
    return row === undefined ? undefined : entryOf(row)
  }

  /** Newest first. */
  list(region: string): ImageRecord[] {
    return this.#list.all(region, listed).map((row) => entryOf(row).record)
  }

  /** How many there are, and how many of them are being made. */
  counts(): { images: number; busy: number } {
    return this.#counts.first() ?? { images: 0, busy: 0 }
  }

  oldestFailed(): string | undefined {
    return this.#oldestFailed.first()?.id
  }

  /** With every name that leads to it. */
  remove(id: string): void {
    this.#unname.run(id)
    this.#remove.run(id)
  }

  /** Its object is to be told that the account has it no more. */
  drop(id: string, now: number): void {
    this.#drop.run(id, now)
  }

  /** Those whose objects are to be told, oldest first. */
  drops(): { image: string; since: number }[] {
    return this.#drops.all()
  }

  dropped(id: string): void {
    this.#dropped.run(id)
  }

  /** The image that a name leads to. */
  named(region: string, name: string): string | undefined {
    return this.#named.first(region, name)?.image
  }

  /** From now on the name leads to this image. */
  name(region: string, name: string, image: string): void {
    this.#name.run(region, name, image)
  }

  nameIfFree(region: string, name: string, image: string): void {
    this.#nameIfFree.run(region, name, image)
  }

  hasName(image: string): boolean {
    return (this.#namesOf.first(image)?.names ?? 0) > 0
  }
}

function entryOf(row: ImageRow): ImageEntry {
  const { id, region, version, record, asked, snapshot, created_at: createdAt } = row
  return { id, region, version, record: JSON.parse(record) as ImageRecord, asked, snapshot, createdAt }
}
