/**
 * Who may enter by a data-plane token: its signature, times and names are checked by this isolate alone, then that it is the token of the host's own
 * sandbox. The account's requests per second, which a token does not carry, are asked of the account once in 10 s.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { bearer } from '../auth/gate.ts'
import { ShortCache } from '../auth/short-cache.ts'
import { type Env, regionsServed } from '../env.ts'
import { Refusal } from '../middleware/refusal.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { Caller, Objects } from '../ports.ts'
import type { TokenKeys } from './token-keys.ts'
import { readToken } from './tokens.ts'

const trustedMs = 10_000

/** Who came in, and how many requests its account may send. */
export interface TokenHolder {
  readonly caller: Caller
  readonly requestsPerSecond: number | null
}

export class TokenGate {
  readonly #clock: Clock
  readonly #keys: TokenKeys
  readonly #limits: ShortCache<number | null>

  constructor(clock: Clock, keys: TokenKeys) {
    this.#clock = clock
    this.#keys = keys
    this.#limits = new ShortCache(clock, trustedMs)
  }

  /** The account behind a token of this sandbox. */
  async enter(request: Request, env: Env, objects: Objects, sandbox: string): Promise<TokenHolder> {
    const text = bearer(request)
    if (text === undefined) throw refused('the data-plane token is missing')
    if (text.startsWith('portico_')) throw refused('an API key does not open a sandbox; its data-plane token does')
    const subject = await readToken(text, this.#clock.now(), (kid) => this.#keys.find(objects, kid))
    if (subject === undefined) throw refused('the data-plane token is wrong or has expired')
    const { account, region } = subject
    if (subject.sandbox !== sandbox) {
      throw new AppError('forbidden', 'cannot enter: the data-plane token is of another sandbox')
    }
    if (!regionsServed(env).includes(region)) {
      throw new AppError('forbidden', `cannot enter: this token is of region ${region}, which is not served here`)
    }
    return { caller: { account, region }, requestsPerSecond: await this.#limitOf(objects, account) }
  }

  async #limitOf(objects: Objects, account: string): Promise<number | null> {
    const known = this.#limits.get(account)
    if (known !== undefined) return known
    const { limits } = unwrap(await reach('check the data-plane token', objects.account(account).limits()))
    this.#limits.set(account, limits.requests_per_second)
    return limits.requests_per_second
  }
}

function refused(why: string): Refusal {
  return new Refusal('unauthorized', `cannot enter: ${why}`, {
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
    hint: 'Get a token from the gateway: IssueDataPlaneToken.',
  })
}
