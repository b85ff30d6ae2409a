/**
 * An isolate's share of its accounts' request buckets: taken in batches of about a tenth of a second, so that the account's object is
 * asked rarely. What is not used within a second is given up, and an empty bucket is not asked again before it can hold a token. An
 * account without a limit costs nothing. Numbers only, never promises: those belong to the request that made them.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { reach } from '../platform-errors.ts'
import type { Objects } from '../ports.ts'

const batchesPerSecond = 10
const keptMs = 1000
/** The longest that an isolate believes in an empty bucket. */
const longestEmptyMs = 100
const mostAccounts = 10_000

interface Lease {
  left: number
  until: number
  emptyUntil: number
}

export class RequestLeases {
  readonly #clock: Clock
  readonly #leases = new Map<string, Lease>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes one request of the account's, or refuses with `rate_limited`. */
  async take(objects: Objects, account: string, perSecond: number | null): Promise<void> {
    if (perSecond === null) return
    const lease = this.#leaseOf(account)
    const now = this.#clock.now()
    if (lease.until <= now) lease.left = 0
    if (lease.left > 0) {
      lease.left -= 1
      return
    }
    if (now < lease.emptyUntil) throw refused(perSecond)
    const batch = Math.max(1, Math.floor(perSecond / batchesPerSecond))
    const got = await reach('take the request', objects.account(account).lease(batch))
    const then = this.#clock.now()
    if (got === 0) {
      lease.emptyUntil = then + Math.min(longestEmptyMs, 1000 / perSecond)
      throw refused(perSecond)
    }
    lease.left += got - 1
    lease.until = then + keptMs
  }

  #leaseOf(account: string): Lease {
    const known = this.#leases.get(account)
    if (known !== undefined) return known
    if (this.#leases.size >= mostAccounts) {
      const oldest = this.#leases.keys().next().value
      if (oldest !== undefined) this.#leases.delete(oldest)
    }
    const lease: Lease = { left: 0, until: 0, emptyUntil: 0 }
    this.#leases.set(account, lease)
    return lease
  }
}

function refused(perSecond: number): AppError {
  return new AppError(
    'rate_limited',
    `cannot take the request: the account's limit requests_per_second = ${perSecond} is reached`,
  )
}
