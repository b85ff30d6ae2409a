/**
 * Workers and their invocations, as their account's object keeps them:
 *
 *   under way ──its function ends──▶ answered ──the client has it, or 15 min later──▶ forgotten
 *
 * An answer stays until it is certain that its client has it: one that was sent into a connection that had died is sent again when the client is back. What
 * is kept is bounded: the oldest answer that was sent makes room, and where all are unsent the oldest loses its text, not its place.
 */

import { type SqlValue, statement } from './sql.ts'

export const iiiSchema: readonly string[] = [
  'CREATE TABLE iii_workers (id TEXT PRIMARY KEY, token TEXT NOT NULL, note TEXT NOT NULL, away_at INTEGER)',
  `CREATE TABLE iii_invocations (
     worker TEXT NOT NULL, id TEXT NOT NULL, function TEXT NOT NULL, trace TEXT NOT NULL, sandbox TEXT, began_at INTEGER NOT NULL,
     ended_at INTEGER, sent_at INTEGER, chars INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (worker, id)
   ) WITHOUT ROWID`,
  'CREATE INDEX iii_ended ON iii_invocations (ended_at) WHERE ended_at IS NOT NULL',
  `CREATE TABLE iii_answers (
     worker TEXT NOT NULL, id TEXT NOT NULL, piece INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (worker, id, piece)
   ) WITHOUT ROWID`,
  'ALTER TABLE iii_workers ADD COLUMN became TEXT',
  'ALTER TABLE iii_invocations ADD COLUMN silent INTEGER NOT NULL DEFAULT 0',
  'CREATE INDEX iii_delivered ON iii_invocations (ended_at) WHERE sent_at IS NOT NULL',
]

/** How long an answer waits for its client, and a client's right to it. */
export const keptMs = 900_000
/** A client gives a connection up that has been silent for 60 s: what was sent so long before its next frame has arrived. */
const arrivedMs = 90_000
/** A text in the database may have 2 MB, and a character up to three bytes. */
const pieceChars = 500_000
const mostChars = 33_554_432
const mostAnswers = 2000
/** Places without a text. */
const mostLost = 10_000

/** An invocation that has not ended. */
export interface Begun {
  readonly worker: string
  readonly id: string
  readonly function: string
  /** JSON. */
  readonly trace: string
  /** What it makes, where it makes one. */
  readonly sandbox: string | null
  /** 1 for one that is not answered: its id is made up. */
  readonly silent: number
}

type Kept = { worker: string; id: string; ended_at: number; chars: number }

/** What a worker has under way, or an answer that waits, keeps its client's right to it. */
const ownsNothing = 'NOT EXISTS (SELECT 1 FROM iii_invocations WHERE worker = iii_workers.id)'

export class IiiStore {
  readonly #sql: SqlStorage
  readonly #begin
  readonly #state
  readonly #begun
  readonly #end
  readonly #put
  readonly #pieces
  readonly #ended
  readonly #oldest
  readonly #oldestSent
  readonly #oldestWhole
  readonly #oldestLost
  #kept: { answers: number; lost: number; chars: number }

  constructor(sql: SqlStorage) {
    this.#sql = sql
    this.#begin = statement<never, [string, string, string, string, number, number]>(
      sql,
      'INSERT INTO iii_invocations (worker, id, function, trace, silent, began_at) VALUES (?, ?, ?, ?, ?, ?)',
    )
    this.#state = statement<{ ended_at: number | null }, [string, string]>(
      sql,
      'SELECT ended_at FROM iii_invocations WHERE worker = ? AND id = ?',
    )
    this.#begun = statement<Begun & Record<string, SqlValue>>(
      sql,
      'SELECT worker, id, function, trace, sandbox, silent FROM iii_invocations WHERE ended_at IS NULL',
    )
    this.#end = statement<never, [number, number, string, string]>(
      sql,
      'UPDATE iii_invocations SET ended_at = ?, chars = ? WHERE worker = ? AND id = ?',
    )
    this.#put = statement<never, [string, string, number, string]>(
      sql,
      'INSERT INTO iii_answers (worker, id, piece, text) VALUES (?, ?, ?, ?)',
    )
    this.#pieces = statement<{ text: string }, [string, string]>(
      sql,
      'SELECT text FROM iii_answers WHERE worker = ? AND id = ? ORDER BY piece',
    )
    this.#ended = statement<{ id: string }, [string]>(
      sql,
      'SELECT id FROM iii_invocations WHERE worker = ? AND ended_at IS NOT NULL ORDER BY ended_at',
    )
    this.#oldest = statement<Kept>(
      sql,
      'SELECT worker, id, ended_at, chars FROM iii_invocations WHERE ended_at IS NOT NULL ORDER BY ended_at LIMIT 1',
    )
    const oldest = (where: string) =>
      statement<Kept>(
        sql,
        `SELECT worker, id, ended_at, chars FROM iii_invocations WHERE ${where} ORDER BY ended_at LIMIT 1`,
      )
    this.#oldestSent = oldest('sent_at IS NOT NULL AND ended_at IS NOT NULL')
    this.#oldestWhole = oldest('ended_at IS NOT NULL AND chars > 0')
    this.#oldestLost = oldest('ended_at IS NOT NULL AND chars = 0')
    const counted = `SELECT COUNT(*) FILTER (WHERE chars > 0) AS answers, COUNT(*) FILTER (WHERE chars = 0) AS lost, TOTAL(chars) AS chars
      FROM iii_invocations WHERE ended_at IS NOT NULL`
    this.#kept = sql.exec<{ answers: number; lost: number; chars: number }>(counted).one()
  }

  /** A worker that came in. `token` is a hash, `note` JSON. */
  addWorker(id: string, token: string, note: string): void {
    this.#sql.exec('INSERT INTO iii_workers (id, token, note) VALUES (?, ?, ?)', id, token, note)
  }

  /** What was noted of a worker. */
  noteOf(worker: string): string | undefined {
    return this.#sql.exec<{ note: string }>('SELECT note FROM iii_workers WHERE id = ?', worker).toArray()[0]?.note
  }

  /** The worker has gone, for now. */
  away(worker: string, at: number): void {
    this.#sql.exec('UPDATE iii_workers SET away_at = ? WHERE id = ? AND away_at IS NULL', at, worker)
  }

  /** Those that are not known to have gone. */
  present(): string[] {
    const rows = this.#sql.exec<{ id: string }>('SELECT id FROM iii_workers WHERE away_at IS NULL').toArray()
    return rows.map(({ id }) => id)
  }

  /**
   * Makes `next` the owner of all that was `previous`'s, or its who came after that: a client whose new connection died before it could read its papers comes
   * with those of the one before. Answers whose it was; undefined if the token is not that one's, or there is nothing to take.
   */
  reattach(previous: string, token: string, next: string, at: number): string | undefined {
    const known = 'SELECT id FROM iii_workers WHERE id = ? AND token = ?'
    if (this.#sql.exec(known, previous, token).toArray().length === 0) return undefined
    const owner = this.#lastOf(previous)
    if (owner === next) return undefined
    this.#sql.exec('UPDATE OR REPLACE iii_invocations SET worker = ? WHERE worker = ?', next, owner)
    this.#sql.exec('UPDATE OR REPLACE iii_answers SET worker = ? WHERE worker = ?', next, owner)
    this.#sql.exec('UPDATE iii_workers SET became = ?, away_at = ? WHERE id = ?', next, at, owner)
    // The last of a chain leads nowhere, so that no chain is a ring.
    this.#sql.exec('UPDATE iii_workers SET became = NULL WHERE id = ?', next)
    return owner
  }

  #lastOf(worker: string): string {
    for (let at = worker; ; ) {
      const query = 'SELECT became FROM iii_workers WHERE id = ?'
      const became = this.#sql.exec<{ became: string | null }>(query, at).toArray()[0]?.became ?? null
      if (became === null) return at
      at = became
    }
  }

  begin(begun: Omit<Begun, 'sandbox'>, at: number): void {
    this.#begin.run(begun.worker, begun.id, begun.function, begun.trace, begun.silent, at)
  }

  /** Notes what the invocation is about to make. */
  makes(worker: string, id: string, sandbox: string): void {
    this.#sql.exec('UPDATE iii_invocations SET sandbox = ? WHERE worker = ? AND id = ?', sandbox, worker, id)
  }

  /** Whether the worker has begun an invocation of this name, and whether it is over. */
  stateOf(worker: string, id: string): 'new' | 'begun' | 'ended' {
    const row = this.#state.first(worker, id)
    return row === undefined ? 'new' : row.ended_at === null ? 'begun' : 'ended'
  }

  /** All that have not ended. */
  begun(): Begun[] {
    return this.#begun.all()
  }

  /** One that is not answered is over. */
  drop(worker: string, id: string): void {
    this.#sql.exec('DELETE FROM iii_invocations WHERE worker = ? AND id = ?', worker, id)
  }

  /** Keeps the answer. */
  end(worker: string, id: string, answer: string, at: number): void {
    this.#end.run(at, answer.length, worker, id)
    for (const [piece, text] of piecesOf(answer).entries()) this.#put.run(worker, id, piece, text)
    this.#count(1, answer.length)
    while (this.#kept.answers > 1 && (this.#kept.answers > mostAnswers || this.#kept.chars > mostChars)) {
      const sent = this.#oldestSent.first()
      const whole = sent ?? this.#oldestWhole.first()
      if (whole === undefined) return
      if (sent === undefined) this.#lose(whole)
      else this.#forget(whole)
    }
    while (this.#kept.lost > mostLost) {
      const lost = this.#oldestLost.first()
      if (lost === undefined) return
      this.#forget(lost)
    }
  }

  /** The invocation of an answer whose text had to make room; undefined while the text is here. */
  lost(worker: string, id: string): { readonly function: string; readonly trace: string } | undefined {
    const query = 'SELECT function, trace FROM iii_invocations WHERE worker = ? AND id = ? AND chars = 0'
    return this.#sql.exec<{ function: string; trace: string }>(query, worker, id).toArray()[0]
  }

  /** Ids of the answers that are kept for a worker, oldest first. */
  ended(worker: string): string[] {
    return this.#ended.all(worker).map(({ id }) => id)
  }

  answer(worker: string, id: string): string {
    return this.#pieces
      .all(worker, id)
      .map(({ text }) => text)
      .join('')
  }

  sent(worker: string, id: string, at: number): void {
    this.#sql.exec('UPDATE iii_invocations SET sent_at = ? WHERE worker = ? AND id = ?', at, worker, id)
  }

  /** The worker's socket is alive at this moment: forgets what must have arrived by it. */
  alive(worker: string, at: number): void {
    this.#forgetAll('worker = ? AND sent_at < ?', worker, at - arrivedMs)
  }

  /** When there is something to forget; undefined while there is nothing. */
  nextExpiry(): number | undefined {
    const gone = `SELECT MIN(away_at) AS at FROM iii_workers WHERE away_at IS NOT NULL AND ${ownsNothing}`
    const away = this.#sql.exec<{ at: number | null }>(gone).one().at
    const times = [this.#oldest.first()?.ended_at, away ?? undefined].filter((at) => at !== undefined)
    return times.length === 0 ? undefined : Math.min(...times) + keptMs
  }

  /** Forgets what has been kept for long enough. */
  expire(now: number): void {
    this.#forgetAll('ended_at <= ?', now - keptMs)
    this.#sql.exec(`DELETE FROM iii_workers WHERE away_at <= ? AND ${ownsNothing}`, now - keptMs)
  }

  #forgetAll(where: string, ...parameters: SqlValue[]): void {
    const query = `SELECT worker, id, ended_at, chars FROM iii_invocations WHERE ended_at IS NOT NULL AND ${where}`
    for (const row of this.#sql.exec<Kept>(query, ...parameters).toArray()) this.#forget(row)
  }

  #forget({ worker, id, chars }: Kept): void {
    this.#sql.exec('DELETE FROM iii_answers WHERE worker = ? AND id = ?', worker, id)
    this.#sql.exec('DELETE FROM iii_invocations WHERE worker = ? AND id = ?', worker, id)
    if (chars > 0) this.#count(-1, -chars)
    else this.#kept = { ...this.#kept, lost: this.#kept.lost - 1 }
  }

  #lose({ worker, id, chars }: Kept): void {
    this.#sql.exec('DELETE FROM iii_answers WHERE worker = ? AND id = ?', worker, id)
    this.#sql.exec('UPDATE iii_invocations SET chars = 0 WHERE worker = ? AND id = ?', worker, id)
    this.#count(-1, -chars)
    this.#kept = { ...this.#kept, lost: this.#kept.lost + 1 }
  }

  #count(answers: number, chars: number): void {
    const { lost } = this.#kept
    this.#kept = { answers: this.#kept.answers + answers, lost, chars: this.#kept.chars + chars }
  }
}

/** No piece ends between the two halves of a character: stored as UTF-8 they would be lost. */
function piecesOf(text: string): string[] {
  const pieces: string[] = []
  for (let at = 0; at < text.length; ) {
    const end = at + pieceChars
    const isSplit = end < text.length && /[\ud800-\udbff]/.test(text.charAt(end - 1))
    pieces.push(text.slice(at, isSplit ? end - 1 : end))
    at += pieces.at(-1)?.length ?? pieceChars
  }
  return pieces
}
