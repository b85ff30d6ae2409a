/**
 * `Idempotency-Key` on creating calls: the account keeps the ids of what a call makes before it is made, and its answer afterwards.
 *
 *   answered, or failed for good    kept: every repetition gets the same answer
 *   refused, may be mended          forgotten: the next call is a first one
 *   refused by a look at a record   the same: nothing was made, and looking again costs no more than an answer that is kept
 *   broken off                      nobody knows what was made: the next call goes on with the same ids
 */

import { canonicalJson } from '@portico/shared/audit'
import { AppError, type ErrorCode } from '@portico/shared/errors'
import { hashSecret } from '../auth/tokens.ts'
import type { KeyCall } from '../call.ts'
import { logFailure } from '../log.ts'
import { unwrap } from '../outcome.ts'
import { fromPlatform, reach } from '../platform-errors.ts'
import type { AccountPort } from '../ports.ts'
import { errorResponse } from './answer.ts'

const header = 'idempotency-key'
const replayed = { 'idempotent-replayed': 'true' }
const keyPattern = /^[\x20-\x7e]{1,255}$/

/** How a call is made: `ids` are what it makes, and with `again` some or all of that may be there already. */
type Make = (ids: readonly string[], again: boolean) => Promise<Response>

/** Makes the call, or answers as it was answered before. `ids` are those of a first call. */
export async function once(call: KeyCall, ids: readonly string[], make: Make): Promise<Response> {
  const key = keyOf(call.request)
  if (key === undefined) return make(ids, false)
  const input = { key, fingerprint: await fingerprintOf(call), ids }
  const begun = unwrap(await reach('begin the call', accountOf(call).beginOnce(input)))
  if (begun.kind === 'done') return answerOf(begun.body, begun.status, replayed)
  const isAgain = begun.kind === 'again'
  try {
    const response = await make(begun.ids, isAgain)
    const body = await response.text()
    await quietly(accountOf(call).endOnce(key, response.status, body))
    return answerOf(body, response.status, {})
  } catch (thrown) {
    throw await settleFailure(call, key, AppError.from(thrown), isAgain)
  }
}

/** The key of a request, if it has one. */
function keyOf(request: Request): string | undefined {
  const key = request.headers.get(header)
  if (key === null) return undefined
  if (keyPattern.test(key)) return key
  throw new AppError('invalid_request', 'cannot use the Idempotency-Key: it has 1 to 255 printable ASCII characters')
}

/** Of everything that makes two requests the same. A hash, as a body may hold secrets. */
function fingerprintOf({ body, principal, request, subject, url }: KeyCall): Promise<string> {
  const { sandbox = '' } = subject
  // Not every surface names the sandbox in its path.
  const path = url.pathname.includes(sandbox) ? url.pathname : `${sandbox} ${url.pathname}`
  return hashSecret(canonicalJson([principal.region, request.method, path, body ?? null]))
}

async function settleFailure(call: KeyCall, key: string, error: AppError, isAgain: boolean): Promise<AppError> {
  const account = accountOf(call)
  if (isBrokenOff(error, isAgain)) await quietly(account.suspendOnce(key))
  else if (error.retryable || (!isAgain && looked.has(error.code))) await quietly(account.forgetOnce(key))
  else await quietly(account.endOnce(key, error.status, await errorResponse(error, call.requestId).text()))
  return error
}

/** What a call is refused with before it makes anything, by what is on record. */
const looked: ReadonlySet<ErrorCode> = new Set([
  'sandbox_not_found',
  'sandbox_not_running',
  'sandbox_hibernated',
  'sandbox_lost',
  'snapshot_not_found',
])

/** Found anew for each step, as what broke off may have broken the way to it. */
function accountOf({ objects, principal }: KeyCall): AccountPort {
  return objects.account(principal.account)
}

/** The platform failed on the way, or a repetition met the first call: what was asked for may yet come to be. */
function isBrokenOff(error: AppError, isAgain: boolean): boolean {
  if (error.cause !== undefined || error.code === 'internal') return true
  return isAgain && (error.code === 'conflict' || error.code === 'idempotency_pending')
}

/** What the account cannot be told now, the call's time tells: then a repetition goes on with it. */
async function quietly(told: Promise<void>): Promise<void> {
  try {
    await told
  } catch (thrown) {
    logFailure('end the call', fromPlatform(thrown, 'end the call'))
  }
}

function answerOf(body: string, status: number, headers: Readonly<Record<string, string>>): Response {
  return new Response(body, { status, headers: { 'content-type': 'application/json', ...headers } })
}
