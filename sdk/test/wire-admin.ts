/** What the wire server keeps for its operator: accounts, keys, runners. A drain makes a step each time that somebody looks. */

import {
  type AccountLimits,
  type AdminAccount,
  type AdminKey,
  accountLimits,
  keyScopes,
  type RunnerRecord,
  runnerDrainModes,
  type SigningKey,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newAccountId, newRunnerId } from '@portico/shared/ids'
import { z } from 'zod'
import { parse, type SeenRequest } from './wire-request.ts'

type Json = readonly [status: number, value: unknown]

const at = '2026-01-02T03:04:05.000Z'
const nameRequest = z.strictObject({ name: z.string().min(1) })
const keyRequest = z.strictObject({
  region: z.string(),
  name: z.string().default('key'),
  scope: z.enum(keyScopes).default('full'),
  expires_in: z.int().min(1).optional(),
})
const runnerRequest = z.strictObject({ region: z.string(), name: z.string().default('runner') })
const drainRequest = z.strictObject({ mode: z.enum(runnerDrainModes) })

interface StoredAccount {
  readonly about: AdminAccount
  limits: AccountLimits
  readonly keys: AdminKey[]
}

export class WireAdmin {
  readonly key = 'portico_admin_secret'
  readonly accounts = new Map<string, StoredAccount>()
  readonly runners = new Map<string, RunnerRecord>()
  signingKeys: SigningKey[] = []

  answer(seen: SeenRequest): Json {
    if (seen.headers.authorization !== `Bearer ${this.key}`)
      throw new AppError('unauthorized', 'cannot use the admin API: the key is not known')
    const [, , resource, id, verb, sub] = seen.path.split('/')
    if (resource === 'accounts') return id === undefined ? this.#accounts(seen) : this.#account(seen, id, verb, sub)
    if (resource === 'runners') return id === undefined ? this.#fleet(seen) : this.#runner(seen, id, verb)
    if (resource === 'signing-keys') return [200, { keys: id === 'rotate' ? this.#rotate() : this.signingKeys }]
    throw new AppError('not_found', `cannot find ${seen.path}`)
  }

  /** A runner that is there already. */
  addRunner(changes: Partial<RunnerRecord> = {}): RunnerRecord {
    const runner: RunnerRecord = { ...unheard, id: newRunnerId(), region: 'us', name: 'runner', ...changes }
    this.runners.set(runner.id, runner)
    return runner
  }

  #rotate(): readonly SigningKey[] {
    const retired = this.signingKeys.map((key) => ({ ...key, status: 'retired' as const, retired_at: at }))
    const fresh = { id: `sig${retired.length + 1}`, created_at: at, retired_at: null, last_token_ends_at: null }
    this.signingKeys = [{ ...fresh, status: 'signing' }, ...retired]
    return this.signingKeys
  }

  #accounts(seen: SeenRequest): Json {
    if (seen.method === 'GET') return [200, { accounts: [...this.accounts.values()].map(({ about }) => about) }]
    const about = { id: newAccountId(), name: parse(nameRequest, seen).name, created_at: at }
    this.accounts.set(about.id, { about, limits: unlimited, keys: [] })
    return [201, about]
  }

  #account(seen: SeenRequest, id: string, verb: string | undefined, sub: string | undefined): Json {
    const account = this.accounts.get(id)
    if (!account) throw new AppError('not_found', 'cannot find the account: there is none with this id')
    if (verb === 'keys') return keys(account, seen, sub)
    if (verb !== 'limits') {
      const in_use = { sandboxes: 2, vcpus: 4, mem_mib: 2048, snapshots: 0 }
      return [200, { ...account.about, limits: account.limits, in_use }]
    }
    account.limits = accountLimits.parse({ ...account.limits, ...parse(accountLimits.partial().strict(), seen) })
    return [200, { limits: account.limits }]
  }

  #fleet(seen: SeenRequest): Json {
    if (seen.method === 'GET') return [200, { runners: [...this.runners.values()] }]
    const { id, region, name, created_at } = this.addRunner(parse(runnerRequest, seen))
    return [201, { id, region, name, created_at, token: `portico_runner_${region}_${id}_secret` }]
  }

  #runner(seen: SeenRequest, id: string, verb: string | undefined): Json {
    const runner = this.runners.get(id)
    if (!runner) throw new AppError('not_found', `cannot find runner ${id}`)
    if (seen.method === 'DELETE') return this.#remove(runner, seen.query.get('lost') === 'true')
    const drain = verb === 'drain' ? begun(runner, parse(drainRequest, seen).mode) : step(runner.drain)
    const next = verb === 'undrain' ? { ...runner, draining: false, drain: null } : { ...runner, drain }
    this.runners.set(id, { ...next, draining: next.drain !== null })
    return [200, this.runners.get(id)]
  }

  #remove({ id, sandboxes }: RunnerRecord, lost: boolean): Json {
    if (sandboxes > 0 && !lost)
      throw new AppError('conflict', `cannot remove runner ${id}: it has ${sandboxes} sandboxes`)
    this.runners.delete(id)
    return [200, { id, status: 'removed', lost_sandboxes: sandboxes }]
  }
}

function keys(account: StoredAccount, seen: SeenRequest, id: string | undefined): Json {
  if (seen.method === 'GET') return [200, { keys: account.keys }]
  if (seen.method === 'POST') {
    const { expires_in, ...asked } = parse(keyRequest, seen)
    const expires_at = expires_in === undefined ? null : new Date(Date.parse(at) + expires_in * 1000).toISOString()
    const about = { created_at: at, expires_at, last_used_at: null, revoked_at: null }
    const key: AdminKey = { id: `key${account.keys.length + 1}`, ...asked, ...about }
    account.keys.push(key)
    return [201, { ...key, key: `portico_live_${key.region}_${key.id}_secret` }]
  }
  const index = account.keys.findIndex((key) => key.id === id)
  const key = account.keys[index]
  if (!key) throw new AppError('not_found', 'cannot revoke the key: there is none with this id')
  account.keys[index] = { ...key, revoked_at: at }
  return [200, account.keys[index]]
}

type Drain = RunnerRecord['drain']

function begun({ sandboxes }: RunnerRecord, mode: 'wait' | 'hibernate'): Drain {
  return { mode, running: sandboxes, hibernated: 0, done: sandboxes === 0 }
}

/** One sandbox less to empty the runner of. */
function step(drain: Drain): Drain {
  if (drain === null || drain.done) return drain
  const running = drain.running - 1
  const hibernated = drain.hibernated + (drain.mode === 'hibernate' ? 1 : 0)
  return { ...drain, running, hibernated, done: running === 0 }
}

const unlimited: AccountLimits = {
  sandboxes: null,
  vcpus: null,
  mem_mib: null,
  snapshots: null,
  requests_per_second: null,
}

/** A runner that has not connected yet. */
const unheard: Omit<RunnerRecord, 'id' | 'region' | 'name'> = {
  created_at: at,
  connected: false,
  draining: false,
  drain: null,
  generation: null,
  version: null,
  accelerator: null,
  vcpus: null,
  free_mem_mib: null,
  free_slots: null,
  free_vcpus: null,
  total_mem_mib: null,
  load: null,
  sockets: 0,
  images: [],
  warm: {},
  sandboxes: 0,
  seen_at: null,
}
