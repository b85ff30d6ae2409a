/**
 * A sandbox's store: JSON values by key in its record. It asks no runner, so it works while the sandbox sleeps, and a checkpoint's restore does not touch it.
 * All changes of a call are made in one transaction, within the limits or not at all. While a fork copies the store, changes wait, so that a child has it as
 * it was at one moment. It ends with the sandbox.
 */

import { type StoreKeys, storeLimits } from '@portico/shared/api'
import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import type { Caller, StoreChange, StoredValue, StoreListInput, StoreRow } from '../ports.ts'
import type { Values } from '../store/values.ts'
import type { Life } from './life.ts'

/** What a piece of a copy holds: values of about so many characters together, read so many at a time. */
const pieceLength = 524_288
const rowsAtOnce = 16

const encoder = new TextEncoder()

/** `next` is the name after which the one that follows begins; undefined after the last. */
export interface Piece {
  readonly rows: readonly StoreRow[]
  readonly next?: string
}

export interface StoreOptions {
  readonly values: () => Values
  readonly clock: Clock
  /** All of the work or nothing of it. */
  readonly transaction: <Value>(work: () => Value) => Value
}

export class Store {
  readonly #options: StoreOptions
  #copying: Promise<unknown> = Promise.resolve()

  constructor(options: StoreOptions) {
    this.#options = options
  }

  get(key: string): StoredValue {
    const value = this.#values.get(key, this.#now)
    if (value === undefined) throw new AppError('not_found', `cannot read ${shown(key)}: there is no value`)
    return value
  }

  keys(input: StoreListInput): StoreKeys {
    return this.#values.keys(input, this.#now)
  }

  /** Answers for each change whether there was a value before. `mayChange` throws where that is over by the time it would be done. */
  async apply(changes: readonly StoreChange[], mayChange: () => unknown): Promise<boolean[]> {
    const sizes = changes.map(checked)
    for (let seen: unknown; seen !== this.#copying; ) {
      seen = this.#copying
      await this.#copying
    }
    mayChange()
    const now = this.#now
    const values = this.#values
    return this.#options.transaction(() => {
      values.removeExpired(now)
      const were = changes.map(({ key, json, ttlSeconds }, index) => {
        if (json === null) return values.remove(key)
        const expiresAt = ttlSeconds === null ? null : now + Math.ceil(ttlSeconds * 1000)
        return values.put({ key, json, expiresAt }, sizes[index] ?? 0)
      })
      // What only takes away is never refused.
      if (changes.some(({ json }) => json !== null)) assertRoom(values.total)
      return were
    })
  }

  /** Runs work that copies the store, given its first piece, while it does not change. What fits into that piece is copied already. */
  async copied<Value>(work: (first: Piece) => Promise<Value>): Promise<Value> {
    const first = this.piece()
    if (first.next === undefined) return await work(first)
    const done = this.#copying.then(() => work(this.piece()))
    this.#copying = done.catch(() => undefined)
    return await done
  }

  /** A piece of the live values after this name. */
  piece(after = ''): Piece {
    const rows: StoreRow[] = []
    let length = 0
    for (;;) {
      const some = this.#values.rows(rows.at(-1)?.key ?? after, this.#now, rowsAtOnce)
      for (const row of some) {
        rows.push(row)
        length += row.key.length + row.json.length
        if (length >= pieceLength) return { rows, next: row.key }
      }
      if (some.length < rowsAtOnce) return { rows }
    }
  }

  /** Takes what another store's `piece` was. */
  fill(rows: readonly StoreRow[]): void {
    if (rows.length === 0) return
    const values = this.#values
    this.#options.transaction(() => {
      for (const row of rows) values.put(row, bytesOf(row.json))
    })
  }

  clear(): void {
    this.#options.transaction(() => this.#values.clear())
  }

  get #values(): Values {
    return this.#options.values()
  }

  get #now(): number {
    return this.#options.clock.now()
  }
}

/** The store of a sandbox that is its caller's and not over. */
export function storeOf(life: Life, caller: Caller, store: Store): Store {
  life.usable(caller)
  return store
}

/** Changes the store, if the sandbox is still there once nobody copies it. */
export async function applyToStore(
  life: Life,
  caller: Caller,
  store: Store,
  changes: readonly StoreChange[],
): Promise<boolean[]> {
  life.usable(caller)
  return await store.apply(changes, () => life.usable(caller))
}

/** More of its parent's store for a child that is still being made. */
export function fill(life: Life, caller: Caller, store: Store, rows: readonly StoreRow[]): void {
  const { state } = life.usable(caller)
  if (state !== 'creating') throw new AppError('conflict', 'cannot fill the store: the sandbox is not being made')
  store.fill(rows)
}

/** Throws for what no limit allows; answers the value's size. */
function checked({ key, json }: StoreChange): number {
  if (!key.isWellFormed() || key.includes('\0') || key === '.' || key === '..') {
    throw new AppError(
      'invalid_request',
      `cannot use ${shown(key)}: a key is text without NUL, and neither "." nor ".."`,
    )
  }
  const length = bytesOf(key)
  if (length === 0 || length > storeLimits.keyBytes) {
    const why = `a key has 1 to ${storeLimits.keyBytes} bytes, and this one ${length}`
    throw new AppError('invalid_request', `cannot use ${shown(key)}: ${why}`)
  }
  if (json === null) return 0
  const size = bytesOf(json)
  if (size <= storeLimits.valueBytes) return size
  const why = `a value has at most ${storeLimits.valueBytes} bytes of JSON, and this one ${size}`
  throw new AppError('payload_too_large', `cannot set ${shown(key)}: ${why}`)
}

function assertRoom({ keys, bytes }: { readonly keys: number; readonly bytes: number }): void {
  const { keys: mostKeys, totalBytes } = storeLimits
  if (keys > mostKeys) {
    throw new AppError(
      'quota_exceeded',
      `cannot change the store: it holds at most ${mostKeys} keys, and would hold ${keys}`,
    )
  }
  if (bytes > totalBytes) {
    const why = `its values have at most ${totalBytes} bytes together, and would have ${bytes}`
    throw new AppError('quota_exceeded', `cannot change the store: ${why}`)
  }
}

function bytesOf(text: string): number {
  return encoder.encode(text).byteLength
}

/** A key as it fits into one line. */
function shown(key: string): string {
  const text = key.toWellFormed().replaceAll('\0', '\ufffd')
  return text.length > 100 ? `${text.slice(0, 99)}…` : text
}
