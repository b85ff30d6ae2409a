/** Whether the key that a worker came in with still counts. A socket may be open for months: what is known of its key is trusted as long as the gate trusts it. */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { ShortCache } from '../auth/short-cache.ts'
import { parseKeyId } from '../auth/tokens.ts'
import { reach } from '../platform-errors.ts'
import type { KeyRecord, Objects } from '../ports.ts'

const trustedMs = 10_000

export class WorkerKeys {
  readonly #clock: Clock
  readonly #objects: Objects
  readonly #known: ShortCache<KeyRecord>

  constructor(clock: Clock, objects: Objects) {
    this.#clock = clock
    this.#objects = objects
    this.#known = new ShortCache(clock, trustedMs)
  }

  /** Throws `unauthorized` for one that is revoked or has expired. */
  async check(id: string): Promise<KeyRecord> {
    const record = this.#known.get(id) ?? (await this.#read(id))
    const isOver = record.expiresAt !== null && record.expiresAt <= this.#clock.now()
    if (record.revoked || isOver) {
      const why = record.revoked ? 'is wrong or revoked' : 'has expired'
      throw new AppError('unauthorized', `cannot go on: the API key ${why}`)
    }
    return record
  }

  async #read(id: string): Promise<KeyRecord> {
    const key = parseKeyId(id)
    const asked = key === undefined ? null : this.#objects.account(key.account).key(key.serial)
    const record = await reach('check the API key', Promise.resolve(asked))
    if (record === null) throw new AppError('unauthorized', 'cannot go on: the API key is wrong or revoked')
    this.#known.set(id, record)
    return record
  }
}
