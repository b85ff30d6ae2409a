/**
 * The keys that sign data-plane tokens: RSA of 2048 bits, for RS256. One signs, the first one is made for the first token.
 *
 *   signing ── rotate ──▶ retired, still published ── its last token has ended ──▶ gone
 *
 * The private half is stored sealed under a key derived from the platform's secret, and only while its key signs. A key whose private half no secret
 * opens any more is retired as if it had been rotated. What a token may claim is in `tokens.ts`.
 */

import type { SigningKey } from '@portico/shared/api'
import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { base32 } from '@portico/shared/ids'
import { logFailure } from '../log.ts'
import type { PublicSigningKey, SignedToken, TokenSubject } from '../ports.ts'
import type { SigningKeyTable, StoredKey } from '../store/signing-keys.ts'
import { seal, unseal } from './sealed.ts'
import { leewaySeconds, signToken } from './tokens.ts'

const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as const
/** The end of a key's last token is stored rounded up to this, so that not each token is a write. */
const roundedMs = 60_000

export interface KeyringOptions {
  readonly table: SigningKeyTable
  /** One step of storage, or none of it. */
  readonly atomically: (work: () => void) => void
  /** The secret in force first. */
  readonly secrets: () => readonly string[]
  readonly clock: Clock
  /** Has `drop` called at this time. */
  readonly wakeAt: (at: number) => void
}

/** The key that signs, opened. */
interface Signer {
  readonly kid: string
  readonly key: CryptoKey
}

interface Pair {
  readonly public: PublicSigningKey
  readonly sealed: ArrayBuffer
}

export class Keyring {
  readonly #options: KeyringOptions
  #signer: Signer | undefined

  constructor(options: KeyringOptions) {
    this.#options = options
  }

  /** A token of so many seconds. The key's end moves first, so that no token is without its key. */
  async sign(subject: TokenSubject, seconds: number): Promise<SignedToken> {
    for (;;) {
      const signer = await this.#ready()
      const stored = this.#options.table.signing()
      // Rotated meanwhile.
      if (stored?.kid !== signer.kid) continue
      const issuedAt = Math.floor(this.#options.clock.now() / 1000)
      const expiresAt = issuedAt + seconds
      if (expiresAt * 1000 > stored.lastUntil) {
        this.#options.table.signed(signer.kid, Math.ceil((expiresAt * 1000) / roundedMs) * roundedMs)
      }
      return { token: await signToken(signer, subject, issuedAt, expiresAt), expiresAt }
    }
  }

  /** The public half of every key whose tokens may still count. */
  published(): PublicSigningKey[] {
    this.drop()
    return this.#options.table.list().map((stored) => stored.public)
  }

  list(): SigningKey[] {
    this.drop()
    return this.#options.table.list().map(shown)
  }

  /** A new key signs from now on. */
  async rotate(): Promise<SigningKey[]> {
    await this.#replace()
    return this.list()
  }

  /** Forgets retired keys whose last token has ended, and has itself called for the next one. */
  drop(): void {
    const { table, clock, wakeAt } = this.#options
    const leewayMs = leewaySeconds * 1000
    const retired = () => table.list().filter((stored) => stored.retiredAt !== null)
    if (retired().length === 0) return
    table.drop(clock.now() - leewayMs)
    const ends = retired().map(({ lastUntil }) => lastUntil + leewayMs)
    if (ends.length > 0) wakeAt(Math.min(...ends))
  }

  async #ready(): Promise<Signer> {
    const stored = this.#options.table.signing()
    if (stored !== undefined && stored.kid === this.#signer?.kid) return this.#signer
    this.#signer = stored === undefined ? await this.#first() : await this.#open(stored)
    return this.#signer
  }

  /** The key out of storage. One that was sealed under the former secret is sealed anew. */
  async #open({ kid, sealed }: StoredKey): Promise<Signer> {
    const { secrets, table } = this.#options
    const opened = sealed === null ? undefined : await unseal(secrets(), kid, sealed)
    if (opened === undefined) {
      const why =
        'cannot open the signing key: it was sealed under a secret that is not here; a new one takes its place'
      logFailure('open the signing key', new AppError('internal', why))
      return await this.#replace(kid)
    }
    if (!opened.current) table.seal(kid, await seal(secrets()[0] ?? '', kid, opened.jwk))
    return { kid, key: await crypto.subtle.importKey('jwk', opened.jwk, algorithm, false, ['sign']) }
  }

  /** Calls that make the first key at the same time agree on one. */
  async #first(): Promise<Signer> {
    const { table, clock } = this.#options
    const { pair, signer } = await this.#make()
    const meanwhile = table.signing()
    if (meanwhile !== undefined) return await this.#open(meanwhile)
    table.add(pair.public, pair.sealed, clock.now())
    return signer
  }

  /** Puts a new key in the place of the one that signs; with `kid` only of that one. */
  async #replace(kid?: string): Promise<Signer> {
    const { atomically, table, clock } = this.#options
    const { pair, signer } = await this.#make()
    const signing = table.signing()
    if (kid !== undefined && signing !== undefined && signing.kid !== kid) return await this.#open(signing)
    atomically(() => {
      table.retire(clock.now())
      table.add(pair.public, pair.sealed, clock.now())
    })
    this.#signer = signer
    this.drop()
    return signer
  }

  async #make(): Promise<{ pair: Pair; signer: Signer }> {
    const size = { modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }
    const made = (await crypto.subtle.generateKey({ ...algorithm, ...size }, true, ['sign', 'verify'])) as CryptoKeyPair
    const kid = base32(crypto.getRandomValues(new Uint8Array(10)))
    const { n = '', e = '' } = (await crypto.subtle.exportKey('jwk', made.publicKey)) as JsonWebKey
    const jwk = (await crypto.subtle.exportKey('jwk', made.privateKey)) as JsonWebKey
    const sealed = await seal(this.#options.secrets()[0] ?? '', kid, jwk)
    const key = await crypto.subtle.importKey('jwk', jwk, algorithm, false, ['sign'])
    return { pair: { public: { kty: 'RSA', kid, alg: 'RS256', use: 'sig', n, e }, sealed }, signer: { kid, key } }
  }
}

function shown({ kid, createdAt, retiredAt, lastUntil }: StoredKey): SigningKey {
  return {
    id: kid,
    status: retiredAt === null ? 'signing' : 'retired',
    created_at: time(createdAt),
    retired_at: retiredAt === null ? null : time(retiredAt),
    last_token_ends_at: lastUntil === 0 ? null : time(lastUntil),
  }
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}
