/**
 * Who may enter: a bearer token is checked without asking anybody first, then against its record. What came of it an isolate reuses for
 * 10 s. So a revoked key works for 10 s more at most, an expired one not a moment, and a made-up one never costs a question.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { acceptedSecrets, adminKey, type Env, regionsServed, signingSecret } from '../env.ts'
import { reach } from '../platform-errors.ts'
import type { Caller, KeyRecord, Objects, Scope, SecretRecord } from '../ports.ts'
import { type LinkScope, readLinkToken } from './link-tokens.ts'
import { ShortCache } from './short-cache.ts'
import {
  hashSecret,
  makeSigner,
  parseKeyId,
  parseToken,
  type Signer,
  sameText,
  type Token,
  type TokenKind,
} from './tokens.ts'

/** How long an isolate trusts what it found out about a token, be it good or bad. */
const trustedMs = 10_000

export interface RunnerCaller {
  readonly runner: string
  readonly region: string
}

/** Who came in with a key, and what holds for its calls. */
export interface KeyHolder {
  readonly caller: Caller
  readonly scope: Scope
  readonly requestsPerSecond: number | null
}

/** What is known of a token that carries our signature; no record is no entry. */
interface Found<Stored extends SecretRecord> {
  readonly token: Token
  readonly stored: Stored | null
}

export class Gate {
  readonly #clock: Clock
  /** By token and environment: only tokens that carry our signature get in here. */
  readonly #keys: ShortCache<Found<KeyRecord>>
  readonly #runners: ShortCache<Found<SecretRecord>>
  /** Signers by secret, as an isolate may see more than one environment. Values, never promises: those belong to the request that made them. */
  readonly #signers = new Map<string, Signer>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#keys = new ShortCache(clock, trustedMs)
    this.#runners = new ShortCache(clock, trustedMs)
  }

  /** The account behind an API key. `given` is the key where it came by another way than the header. */
  async key(request: Request, env: Env, objects: Objects, given?: string): Promise<KeyHolder> {
    const text = given ?? bearer(request)
    const { token, stored } = await this.#enter('key', this.#keys, text, env, async ({ id }) => {
      const key = parseKeyId(id)
      return key === undefined ? null : objects.account(key.account).key(key.serial)
    })
    const { expiresAt, requestsPerSecond, scope } = stored
    if (expiresAt !== null && expiresAt <= this.#clock.now()) {
      throw new AppError('unauthorized', 'cannot enter: the API key has expired')
    }
    const caller = { account: parseKeyId(token.id)?.account ?? '', region: token.region }
    return { caller, scope, requestsPerSecond }
  }

  /** The runner behind a runner token. */
  async runner(request: Request, env: Env, objects: Objects): Promise<RunnerCaller> {
    const load = ({ region, id }: Token) => objects.region(region).runner(id)
    const { token } = await this.#enter('runner', this.#runners, bearer(request), env, load)
    return { runner: token.id, region: token.region }
  }

  /** What a link's token opens. Nobody is asked: it carries all that it says. */
  async link(text: string, env: Env): Promise<LinkScope> {
    const scope = await readLinkToken(acceptedSecrets(env), text, this.#clock.now())
    if (scope === undefined) throw new AppError('unauthorized', 'cannot enter: the link is wrong or has expired')
    if (regionsServed(env).includes(scope.region)) return scope
    throw new AppError('forbidden', `cannot enter: this link is of region ${scope.region}, which is not served here`)
  }

  /** Throws unless the request carries the admin key. */
  admin(request: Request, env: Env): void {
    const key = adminKey(env)
    const given = bearer(request)
    if (key === undefined || given === undefined || !sameText(given, key)) {
      throw new AppError('unauthorized', 'cannot enter: the admin key is missing or wrong')
    }
  }

  /** Makes a token; `hash` is what to store. */
  async issue(kind: TokenKind, region: string, id: string, env: Env): Promise<{ token: Token; hash: string }> {
    const token = await (await this.#signer(kind, signingSecret(env))).sign(region, id)
    return { token, hash: await hashSecret(token.secret) }
  }

  async #enter<Stored extends SecretRecord>(
    kind: TokenKind,
    cache: ShortCache<Found<Stored>>,
    text: string | undefined,
    env: Env,
    load: (token: Token) => Promise<Stored | null>,
  ): Promise<{ token: Token; stored: Stored }> {
    if (text === undefined) throw new AppError('unauthorized', `cannot enter: the ${name(kind)} is missing`)
    const cacheKey = `${env.REGIONS_SERVED} ${text}`
    let found = cache.get(cacheKey)
    if (found === undefined) {
      const token = await this.#signed(kind, text, env)
      const stored = await reach(`check the ${name(kind)}`, load(token))
      found = { token, stored: (await isValid(token, stored)) ? stored : null }
      cache.set(cacheKey, found)
    }
    const { stored, token } = found
    if (stored === null) throw unknownToken(kind)
    return { token, stored }
  }

  /** The token, if it carries our signature and belongs here. */
  async #signed(kind: TokenKind, text: string, env: Env): Promise<Token> {
    const token = parseToken(kind, text)
    if (token === undefined || !(await this.#isSigned(token, env))) throw unknownToken(kind)
    if (regionsServed(env).includes(token.region)) return token
    const why = `this ${name(kind)} is of region ${token.region}, which is not served here`
    throw new AppError('forbidden', `cannot enter: ${why}`)
  }

  async #isSigned(token: Token, env: Env): Promise<boolean> {
    for (const secret of acceptedSecrets(env)) {
      if (await (await this.#signer(token.kind, secret)).verify(token)) return true
    }
    return false
  }

  async #signer(kind: TokenKind, secret: string): Promise<Signer> {
    const cacheKey = `${kind} ${secret}`
    const known = this.#signers.get(cacheKey)
    if (known !== undefined) return known
    const signer = await makeSigner(secret, kind)
    this.#signers.set(cacheKey, signer)
    return signer
  }
}

async function isValid(token: Token, record: SecretRecord | null): Promise<boolean> {
  return record !== null && !record.revoked && sameText(record.hash, await hashSecret(token.secret))
}

/** What stands in the header, if it is a token at all. */
export function bearer(request: Request): string | undefined {
  const match = /^Bearer +([\x21-\x7e]+) *$/i.exec(request.headers.get('authorization') ?? '')
  return match?.[1]
}

function name(kind: TokenKind): string {
  return kind === 'key' ? 'API key' : 'runner token'
}

function unknownToken(kind: TokenKind): AppError {
  return new AppError('unauthorized', `cannot enter: the ${name(kind)} is wrong or revoked`)
}
