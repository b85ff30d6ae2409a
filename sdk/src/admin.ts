/** `@portico/sdk/admin`: the operator's side of a platform. Accounts and their keys, runners, signing keys. */

import { AdminAccounts } from './admin-accounts.ts'
import { AdminKeys } from './admin-keys.ts'
import { AdminRunners } from './admin-runners.ts'
import { AdminSigningKeys } from './admin-signing-keys.ts'
import { platformUrl, usableKey } from './connection.ts'
import { environment } from './platform.ts'
import { Transport } from './transport.ts'

export type { Account, AccountDetails, AccountLimits, AccountUse, AdminAccounts } from './admin-accounts.ts'
export type { AdminKeys, KeyInfo, KeyOptions, KeyScope, NewKey } from './admin-keys.ts'
export type { AdminRunners, DrainMode, DrainProgress, NewRunner, RunnerInfo, RunnerOptions } from './admin-runners.ts'
export type { AdminSigningKeys, SigningKey } from './admin-signing-keys.ts'

/** Where the platform is, and the operator's own key. */
export interface PorticoAdminOptions {
  /** Such as `http://127.0.0.1:8787`; the environment variable PORTICO_URL unless told. */
  readonly url?: string | undefined
  /** The environment variable PORTICO_ADMIN_KEY unless told. */
  readonly adminKey?: string | undefined
  /** Another `fetch` than the runtime's. */
  readonly fetch?: typeof fetch | undefined
}

/** Its errors are those of `@portico/sdk`. */
export class PorticoAdmin {
  readonly #transport: Transport
  readonly accounts: AdminAccounts
  readonly keys: AdminKeys
  readonly runners: AdminRunners
  readonly signingKeys: AdminSigningKeys

  constructor(options: PorticoAdminOptions = {}) {
    const key = options.adminKey ?? environment('PORTICO_ADMIN_KEY')
    this.#transport = new Transport({
      baseUrl: platformUrl(options.url ?? environment('PORTICO_URL'), 'url to PorticoAdmin'),
      apiKey: usableKey(key, 'admin key', 'PORTICO_ADMIN_KEY', 'adminKey to PorticoAdmin'),
      fetch: options.fetch,
    })
    this.accounts = new AdminAccounts(this.#transport)
    this.keys = new AdminKeys(this.#transport)
    this.runners = new AdminRunners(this.#transport)
    this.signingKeys = new AdminSigningKeys(this.#transport)
  }

  /** Ends the calls under way and refuses new ones. */
  close(): void {
    this.#transport.close()
  }

  /** `using` closes it at the end of the block. */
  [Symbol.dispose](): void {
    this.close()
  }
}
