/** What a writer sent before anybody read: in the object's database, so that it is still there when the reader comes late and the object has slept in between. */

import { statement } from '../../store/sql.ts'

export const channelSchema: readonly string[] = [
  'CREATE TABLE frames (at INTEGER PRIMARY KEY, text INTEGER NOT NULL, bytes BLOB NOT NULL)',
]

/** One message of a writer. */
export type Frame = string | Uint8Array

/** A piece of a frame takes a row; a row has a limit of its own. */
const rowBytes = 1_048_576
const encoder = new TextEncoder()

/** A frame in pieces of at most so many bytes; text is one piece, as cutting it would make two messages of it. */
export function* piecesOf(frame: Frame, most: number): Generator<Frame> {
  if (typeof frame === 'string' || frame.byteLength <= most) return yield frame
  for (let at = 0; at < frame.byteLength; at += most) yield frame.subarray(at, at + most)
}

export class WaitingFrames {
  readonly #put
  readonly #next
  readonly #drop
  #bytes: number

  constructor(sql: SqlStorage) {
    this.#put = statement<never, [number, ArrayBuffer]>(sql, 'INSERT INTO frames (text, bytes) VALUES (?, ?)')
    this.#next = statement<{ at: number; text: number; bytes: ArrayBuffer }>(
      sql,
      'SELECT at, text, bytes FROM frames ORDER BY at LIMIT 1',
    )
    this.#drop = statement<never, [number]>(sql, 'DELETE FROM frames WHERE at = ?')
    const sum = statement<{ bytes: number | null }>(sql, 'SELECT SUM(LENGTH(bytes)) AS bytes FROM frames')
    this.#bytes = sum.first()?.bytes ?? 0
  }

  get bytes(): number {
    return this.#bytes
  }

  add(frame: Frame): void {
    for (const piece of piecesOf(frame, rowBytes)) {
      const bytes = typeof piece === 'string' ? encoder.encode(piece) : piece
      this.#put.run(typeof piece === 'string' ? 1 : 0, bytes.slice().buffer)
      this.#bytes += bytes.byteLength
    }
  }

  /** The oldest, which is gone with that. */
  shift(): Frame | undefined {
    const row = this.#next.first()
    if (row === undefined) return undefined
    this.#drop.run(row.at)
    this.#bytes -= row.bytes.byteLength
    return row.text === 1 ? new TextDecoder().decode(row.bytes) : new Uint8Array(row.bytes)
  }
}
