/** `/admin/accounts…`: accounts, their keys and their limits. A key is shown once, when it is made. */

import type { AccountLimits } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newAccountId, parseAccountId } from '@portico/shared/ids'
import { formatToken, newKeySerial, parseKeyId } from '../auth/tokens.ts'
import type { Call } from '../call.ts'
import { regionsServed } from '../env.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { AccountPort, Key } from '../ports.ts'
import type { KeyRequest, LimitsRequest, NameRequest } from './admin-requests.ts'

/** `POST /admin/accounts` */
export async function createAccount({ body, objects, services }: Call<'admin', NameRequest>): Promise<Response> {
  const account = { id: newAccountId(), name: body.name, created_at: timestamp(services.clock.now()) }
  await reach('open the account', objects.account(account.id).open(account))
  await reach('list the account', objects.directory().add(account))
  return Response.json(account, { status: 201 })
}

/** `GET /admin/accounts` */
export async function listAccounts({ objects }: Call<'admin'>): Promise<Response> {
  return Response.json({ accounts: await reach('list accounts', objects.directory().list()) })
}

/** `GET /admin/accounts/{id}` */
export async function readAccount(call: Call<'admin'>): Promise<Response> {
  const { account } = accountOf(call)
  const { limits, in_use } = unwrap(await reach('read the account', account.limits()))
  return Response.json({ ...(await reach('read the account', account.read())), limits, in_use })
}

/** `PUT /admin/accounts/{id}/limits` */
export async function setLimits(call: Call<'admin', LimitsRequest>): Promise<Response> {
  const { account } = accountOf(call)
  return Response.json({ limits: unwrap(await reach('change the limits', account.setLimits(given(call.body)))) })
}

/** `POST /admin/accounts/{id}/keys` */
export async function createKey(call: Call<'admin', KeyRequest>): Promise<Response> {
  const { account, id } = accountOf(call)
  const { region, name, scope, expires_in } = call.body
  assertServed(region, call)
  const serial = newKeySerial()
  const { token, hash } = await call.services.gate.issue('key', region, `${id}${serial}`, call.env)
  const now = call.services.clock.now()
  const key: Key = {
    id: serial,
    region,
    name,
    scope,
    created_at: timestamp(now),
    expires_at: expires_in === undefined ? null : timestamp(now + expires_in * 1000),
    last_used_at: null,
    revoked_at: null,
  }
  unwrap(await reach('add the key', account.addKey(key, hash)))
  return Response.json({ ...key, key: formatToken(token) }, { status: 201 })
}

/** `GET /admin/accounts/{id}/keys` */
export async function listKeys(call: Call<'admin'>): Promise<Response> {
  return Response.json({ keys: unwrap(await reach('list keys', accountOf(call).account.keys())) })
}

/** `DELETE /admin/accounts/{id}/keys/{key}` */
export async function revokeKey(call: Call<'admin'>): Promise<Response> {
  const { account, id } = accountOf(call)
  const serial = call.parameter('key')
  if (parseKeyId(`${id}${serial}`) === undefined)
    throw new AppError('not_found', 'cannot revoke the key: that is no id of a key')
  const revoked = account.revokeKey(serial, timestamp(call.services.clock.now()))
  return Response.json(unwrap(await reach('revoke the key', revoked)))
}

/** Keys and runners belong to regions that are served here. */
export function assertServed(region: string, { env }: Call): void {
  const served = regionsServed(env)
  if (served.includes(region)) return
  throw new AppError('invalid_request', `cannot use region ${region}: served here are ${served.join(', ')}`)
}

export function timestamp(ms: number): string {
  return new Date(ms).toISOString()
}

/** What was left out stays out, so that it changes nothing. */
function given(limits: LimitsRequest): Partial<AccountLimits> {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))
}

function accountOf(call: Call): { id: string; account: AccountPort } {
  const id = parseAccountId(call.parameter('id'))
  if (id === undefined) throw new AppError('not_found', 'cannot find the account: there is none with this id')
  call.subject.account = id
  return { id, account: call.objects.account(id) }
}
