/**
 * Who may enter: a bearer token is checked without asking anybody first, then against its record. What came of it an isolate reuses for
 * 10 s. So a revoked key works for 10 s more at most, and a made-up one never costs a question.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { type Env, regionsServed, signingSecret } from '../env.ts'
import { reach } from '../platform-errors.ts'
import type { Caller, Objects, SecretRecord } from '../ports.ts'
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

interface Found {
  readonly token: Token
  readonly known: boolean
}

export class Gate {
  /** By token and environment: only tokens that carry our signature get in here. */
  readonly #found: ShortCache<Found>
  /** Signers by secret, as an isolate may see more than one environment. Values, never promises: those belong to the request that made them. */
  readonly #signers = new Map<string, Signer>()

  constructor(clock: Clock) {
    this.#found = new ShortCache(clock, trustedMs)
  }

  /** The account behind an API key. */
  async key(request: Request, env: Env, objects: Objects): Promise<Caller> {
    const token = await this.#enter('key', request, env, async ({ id }) => {
      const key = parseKeyId(id)
      return key === undefined ? null : objects.account(key.account).key(key.serial)
    })
    return { account: parseKeyId(token.id)?.account ?? '', region: token.region }
  }

  /** The runner behind a runner token. */
  async runner(request: Request, env: Env, objects: Objects): Promise<RunnerCaller> {
    const token = await this.#enter('runner', request, env, ({ region, id }) => objects.region(region).runner(id))
    return { runner: token.id, region: token.region }
  }

  /** Throws unless the request carries the admin key. */
  admin(request: Request, env: Env): void {
    const key: unknown = env.ADMIN_KEY
    const given = bearer(request)
    if (typeof key !== 'string' || key === '' || given === undefined || !sameText(given, key)) {
      throw new AppError('unauthorized', 'cannot enter: the admin key is missing or wrong')
    }
  }

  /** Makes a token; `hash` is what to store. */
  async issue(kind: TokenKind, region: string, id: string, env: Env): Promise<{ token: Token; hash: string }> {
    const token = await (await this.#signer(kind, env)).sign(region, id)
    return { token, hash: await hashSecret(token.secret) }
  }

  async #enter(
    kind: TokenKind,
    request: Request,
    env: Env,
    load: (token: Token) => Promise<SecretRecord | null>,
  ): Promise<Token> {
    const text = bearer(request)
    if (text === undefined) throw new AppError('unauthorized', `cannot enter: the ${name(kind)} is missing`)
    const cacheKey = `${kind} ${env.REGIONS_SERVED} ${text}`
    let found = this.#found.get(cacheKey)
    if (found === undefined) {
      const token = await this.#signed(kind, text, env)
      found = { token, known: await isKnown(token, await reach(`check the ${name(kind)}`, load(token))) }
      this.#found.set(cacheKey, found)
    }
    if (!found.known) throw unknownToken(kind)
    return found.token
  }

  /** The token, if it carries our signature and belongs here. */
  async #signed(kind: TokenKind, text: string, env: Env): Promise<Token> {
    const token = parseToken(kind, text)
    if (token === undefined || !(await (await this.#signer(kind, env)).verify(token))) throw unknownToken(kind)
    if (regionsServed(env).includes(token.region)) return token
    const why = `this ${name(kind)} is of region ${token.region}, which is not served here`
    throw new AppError('forbidden', `cannot enter: ${why}`)
  }

  async #signer(kind: TokenKind, env: Env): Promise<Signer> {
    const secret = signingSecret(env)
    const cacheKey = `${kind} ${secret}`
    const known = this.#signers.get(cacheKey)
    if (known !== undefined) return known
    const signer = await makeSigner(secret, kind)
    this.#signers.set(cacheKey, signer)
    return signer
  }
}

async function isKnown(token: Token, record: SecretRecord | null): Promise<boolean> {
  return record !== null && !record.revoked && sameText(record.hash, await hashSecret(token.secret))
}

function bearer(request: Request): string | undefined {
  const match = /^Bearer +([\x21-\x7e]+) *$/i.exec(request.headers.get('authorization') ?? '')
  return match?.[1]
}

function name(kind: TokenKind): string {
  return kind === 'key' ? 'API key' : 'runner token'
}

function unknownToken(kind: TokenKind): AppError {
  return new AppError('unauthorized', `cannot enter: the ${name(kind)} is wrong or revoked`)
}
