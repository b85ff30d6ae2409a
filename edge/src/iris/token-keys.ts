/**
 * The public halves of the signing keys, as this isolate last heard them. An id that is not among them is asked for, at most so many times a second, so
 * that made-up ones cost little. Values only, never promises: those belong to the request that made them.
 */

import type { Clock } from '@portico/shared/clock'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { Objects, PublicSigningKey } from '../ports.ts'

/** A key that is known counts for so long without a question: tokens of one that is gone have ended anyway. */
const trustedMs = 600_000
/** What is published is no older than this. */
const publishedMs = 10_000
/** Questions about unknown ids. */
const mostAsks = { count: 10, ms: 1000 } as const

interface KeySet {
  readonly at: number
  readonly published: readonly PublicSigningKey[]
  readonly keys: ReadonlyMap<string, CryptoKey>
}

export class TokenKeys {
  readonly #clock: Clock
  #set: KeySet | undefined
  #asked = { since: 0, count: 0 }

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The key of this id; undefined if there is none, or too many unknown ones are asked for. */
  async find(objects: Objects, kid: string): Promise<CryptoKey | undefined> {
    const known = this.#younger(trustedMs)
    const found = known?.keys.get(kid)
    if (known === undefined) return (await this.#load(objects)).keys.get(kid)
    if (found !== undefined || !this.#mayAsk()) return found
    return (await this.#load(objects)).keys.get(kid)
  }

  /** All of them, for whoever wants to check a token himself. */
  async published(objects: Objects): Promise<readonly PublicSigningKey[]> {
    return (this.#younger(publishedMs) ?? (await this.#load(objects))).published
  }

  #younger(ms: number): KeySet | undefined {
    return this.#set !== undefined && this.#clock.now() < this.#set.at + ms ? this.#set : undefined
  }

  #mayAsk(): boolean {
    const now = this.#clock.now()
    if (now >= this.#asked.since + mostAsks.ms) this.#asked = { since: now, count: 0 }
    this.#asked.count += 1
    return this.#asked.count <= mostAsks.count
  }

  async #load(objects: Objects): Promise<KeySet> {
    const at = this.#clock.now()
    const published = unwrap(await reach('find the signing keys', objects.keyring().published()))
    const entries = published.map(async (jwk): Promise<[string, CryptoKey]> => {
      const { kty, n, e } = jwk
      const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
      return [jwk.kid, await crypto.subtle.importKey('jwk', { kty, n, e }, algorithm, false, ['verify'])]
    })
    const set = { at, published, keys: new Map(await Promise.all(entries)) }
    if (this.#set === undefined || this.#set.at <= at) this.#set = set
    return set
  }
}
