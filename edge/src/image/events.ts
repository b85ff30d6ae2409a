/**
 * What happens to an image, numbered. Kept within a bound: of what steps printed, the oldest makes room, and of how far a phase is only the
 * last is kept. Numbers rise and are never given twice.
 */

import type { ImageEvent } from '@portico/shared/api'
import { statement } from '../store/sql.ts'

/** Of all events together. */
const mostBytes = 1_048_576
/** What an event takes beside its text. */
const rowBytes = 100

export interface Numbered {
  readonly seq: number
  readonly event: ImageEvent
}

type EventRow = { seq: number; json: string }

export class ImageEvents {
  readonly #insert
  readonly #after
  readonly #last
  readonly #remove
  readonly #oldestOutput
  readonly #total
  #bytes: number | undefined

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [string, number, string]>(
      sql,
      'INSERT INTO events (kind, bytes, json) VALUES (?, ?, ?)',
    )
    this.#after = statement<EventRow, [number, number]>(
      sql,
      'SELECT seq, json FROM events WHERE seq > ? ORDER BY seq LIMIT ?',
    )
    this.#last = statement<EventRow & { bytes: number }>(sql, 'SELECT * FROM events ORDER BY seq DESC LIMIT 1')
    this.#remove = statement<never, [number]>(sql, 'DELETE FROM events WHERE seq = ?')
    this.#oldestOutput = statement<{ seq: number; bytes: number }>(
      sql,
      "SELECT seq, bytes FROM events WHERE kind = 'output' ORDER BY seq LIMIT 1",
    )
    this.#total = statement<{ bytes: number }>(sql, 'SELECT TOTAL(bytes) AS bytes FROM events')
  }

  add(event: ImageEvent): void {
    const json = JSON.stringify(event)
    const bytes = json.length + rowBytes
    let total = this.#bytes ?? this.#total.first()?.bytes ?? 0
    const last = this.#last.first()
    if (last !== undefined && isSamePhase(JSON.parse(last.json) as ImageEvent, event)) {
      this.#remove.run(last.seq)
      total -= last.bytes
    }
    this.#insert.run(event.event, bytes, json)
    total += bytes
    while (total > mostBytes) {
      const oldest = this.#oldestOutput.first()
      if (oldest === undefined) break
      this.#remove.run(oldest.seq)
      total -= oldest.bytes
    }
    this.#bytes = total
  }

  /** The next ones behind this number. */
  after(seq: number, most: number): Numbered[] {
    return this.#after.all(seq, most).map((row) => ({ seq: row.seq, event: JSON.parse(row.json) as ImageEvent }))
  }
}

function isSamePhase(last: ImageEvent, next: ImageEvent): boolean {
  if (last.event !== 'progress' || next.event !== 'progress') return false
  return last.phase === next.phase && last.step === next.step
}
