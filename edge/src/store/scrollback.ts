/**
 * What a console has printed lately, by offset. New output is in memory at once and in the database a moment later, in pieces of up to 64 KiB: what an
 * interruption takes in between is read again from the process's own buffer, as the end of what is stored says where to go on. The last piece grows
 * until it is full, so that a terminal's single characters do not become rows each.
 */

import type { Chunk } from '../console/frames.ts'
import { statement } from './sql.ts'

/** How much is kept. */
export const scrollbackBytes = 1_048_576
const pieceBytes = 65_536

type Row = { at: number; kind: Chunk['kind']; run: string | null; bytes: ArrayBuffer }

/** A piece that may still grow. */
interface Piece {
  readonly at: number
  readonly kind: Chunk['kind']
  readonly run: string | null
  parts: Uint8Array[]
  length: number
}

export class Scrollback {
  readonly #put
  readonly #trim
  readonly #from
  readonly #last
  readonly #first
  readonly #marks
  /** Not stored, or not stored as it is now; oldest first. The last of them is the one that grows. */
  #pieces: Piece[] = []
  #dirtyBytes = 0
  #end: number

  constructor(sql: SqlStorage) {
    this.#put = statement<never, [number, string, string | null, ArrayBuffer]>(
      sql,
      'INSERT OR REPLACE INTO scrollback (at, kind, run, bytes) VALUES (?, ?, ?, ?)',
    )
    this.#trim = statement<never, [number]>(
      sql,
      'DELETE FROM scrollback WHERE at < (SELECT MAX(at) FROM scrollback WHERE at <= ?)',
    )
    this.#from = statement<Row, [number, number]>(
      sql,
      `SELECT * FROM scrollback WHERE at >= COALESCE((SELECT MAX(at) FROM scrollback WHERE at <= ?), 0) AND at < ? ORDER BY at`,
    )
    this.#last = statement<Row>(sql, 'SELECT * FROM scrollback ORDER BY at DESC LIMIT 1')
    this.#first = statement<{ at: number }>(sql, 'SELECT at FROM scrollback ORDER BY at LIMIT 1')
    this.#marks = statement<Row>(sql, "SELECT * FROM scrollback WHERE kind = 'mark' ORDER BY at")
    const last = this.#last.first()
    this.#end = last === undefined ? 0 : last.at + last.bytes.byteLength
  }

  /** The offset behind the last byte. */
  get end(): number {
    return this.#end
  }

  /** The offset of the first byte that is kept. */
  get start(): number {
    return this.#first.first()?.at ?? this.#pieces[0]?.at ?? 0
  }

  /** The last piece. */
  get last(): Chunk | undefined {
    const piece = this.#pieces.at(-1)
    if (piece !== undefined) return chunkOf(piece)
    const row = this.#last.first()
    return row === undefined ? undefined : stored(row)
  }

  /** The marks of a shell, oldest first. */
  get marks(): Chunk[] {
    const open = this.#pieces.filter(({ kind }) => kind === 'mark').map(chunkOf)
    const before = open[0]?.at ?? Number.POSITIVE_INFINITY
    return [
      ...this.#marks
        .all()
        .map(stored)
        .filter(({ at }) => at < before),
      ...open,
    ]
  }

  /** How much waits to be stored. */
  get waiting(): number {
    return this.#dirtyBytes
  }

  /** Takes what was printed; its bytes are copied. */
  append(chunk: Chunk): void {
    const last = this.#pieces.at(-1)
    const length = chunk.bytes.length
    const isNext = last !== undefined && last.at + last.length === chunk.at && last.length + length <= pieceBytes
    if (isNext && chunk.kind !== 'mark' && last.kind === chunk.kind && last.run === chunk.run) {
      last.parts.push(chunk.bytes.slice())
      last.length += length
    } else {
      this.#pieces.push({ ...chunk, parts: [chunk.bytes.slice()], length })
    }
    this.#end = chunk.at + length
    this.#dirtyBytes += length
  }

  /** Stores what is not stored yet, and drops what is too old. */
  flush(): void {
    if (this.#dirtyBytes === 0) return
    for (const piece of this.#pieces) this.#put.run(piece.at, piece.kind, piece.run, whole(piece).buffer as ArrayBuffer)
    this.#pieces = this.#pieces.slice(-1)
    this.#dirtyBytes = 0
    this.#trim.run(this.#end - scrollbackBytes)
  }

  /** What is kept from an offset on, beginning with the piece that holds it. */
  *from(at: number): Generator<Chunk> {
    const open = this.#pieces
    const before = open[0]?.at ?? Number.POSITIVE_INFINITY
    if (at < before) {
      for (const row of this.#from.all(at, Math.min(before, Number.MAX_SAFE_INTEGER))) yield stored(row)
    }
    for (const piece of open) if (piece.at + piece.length > at) yield chunkOf(piece)
  }
}

function stored({ at, kind, run, bytes }: Row): Chunk {
  return { at, kind, run, bytes: new Uint8Array(bytes) }
}

function chunkOf(piece: Piece): Chunk {
  const { at, kind, run } = piece
  return { at, kind, run, bytes: whole(piece) }
}

function whole(piece: Piece): Uint8Array {
  const [only] = piece.parts
  if (piece.parts.length === 1 && only !== undefined) return only
  const bytes = new Uint8Array(piece.length)
  let at = 0
  for (const part of piece.parts) {
    bytes.set(part, at)
    at += part.length
  }
  piece.parts = [bytes]
  return bytes
}
