/** Accounts, and what each may have at once. */

import {
  adminAccount,
  adminAccountDetails,
  adminAccountList,
  adminLimits,
  type AccountLimits as WireLimits,
} from '@portico/shared/api'
import { shortMs } from './limits.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

export interface Account {
  readonly id: string
  readonly name: string
  readonly createdAt: Date
}

/** In all regions together; null is no limit. */
export interface AccountLimits {
  /** Sandboxes that are not hibernated. */
  readonly sandboxes: number | null
  readonly vcpus: number | null
  readonly memMiB: number | null
  readonly snapshots: number | null
  readonly requestsPerSecond: number | null
}

/** What of its limits an account has taken. */
export interface AccountUse {
  readonly sandboxes: number
  readonly vcpus: number
  readonly memMiB: number
  readonly snapshots: number
}

export interface AccountDetails extends Account {
  readonly limits: AccountLimits
  readonly inUse: AccountUse
}

export class AdminAccounts {
  readonly #transport: Transport

  /** @internal Made by PorticoAdmin alone. */
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Never repeated by itself: two accounts may have the same name. */
  async create(name: string, { signal }: CallOptions = {}): Promise<Account> {
    const call = { method: 'POST', path: '/admin/accounts', doing: 'create the account', limitMs: shortMs } as const
    return accountOf(await this.#transport.json({ ...call, json: { name }, signal }, adminAccount))
  }

  async list({ signal }: CallOptions = {}): Promise<Account[]> {
    const call = { method: 'GET', path: '/admin/accounts', doing: 'list the accounts', limitMs: shortMs } as const
    const { accounts } = await this.#transport.json({ ...call, repeatable: true, signal }, adminAccountList)
    return accounts.map(accountOf)
  }

  /** An account with its limits and what of them is taken. */
  async get(id: string, { signal }: CallOptions = {}): Promise<AccountDetails> {
    const call = { method: 'GET', path: pathOf(id), doing: 'look up the account', limitMs: shortMs } as const
    const found = await this.#transport.json({ ...call, repeatable: true, signal }, adminAccountDetails)
    const { sandboxes, vcpus, mem_mib, snapshots } = found.in_use
    const inUse = { sandboxes, vcpus, memMiB: mem_mib, snapshots }
    return { ...accountOf(found), limits: limitsOf(found.limits), inUse }
  }

  /** Changes the limits that are given. Those that are exceeded already end nothing; they refuse what would come on top. */
  async setLimits(id: string, limits: Partial<AccountLimits>, { signal }: CallOptions = {}): Promise<AccountLimits> {
    const { memMiB, requestsPerSecond, ...same } = limits
    const json = { ...same, mem_mib: memMiB, requests_per_second: requestsPerSecond }
    const call = { method: 'PUT', path: `${pathOf(id)}/limits`, doing: 'set the limits', limitMs: shortMs } as const
    return limitsOf((await this.#transport.json({ ...call, json, repeatable: true, signal }, adminLimits)).limits)
  }
}

function pathOf(id: string): string {
  return `/admin/accounts/${encodeURIComponent(id)}`
}

function accountOf({ id, name, created_at }: { id: string; name: string; created_at: string }): Account {
  return { id, name, createdAt: new Date(created_at) }
}

function limitsOf({ sandboxes, vcpus, mem_mib, snapshots, requests_per_second }: WireLimits): AccountLimits {
  return { sandboxes, vcpus, memMiB: mem_mib, snapshots, requestsPerSecond: requests_per_second }
}
