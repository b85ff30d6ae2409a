/** `GET /v1/runs/history` and `GET /v1/usage`: what an account has used, read off its index alone. */

import type { AccountUsage, History } from '@portico/shared/api'
import type { KeyCall } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { historyInput } from './list-query.ts'

/** `GET /v1/runs/history` */
export async function readHistory({ objects, principal, url }: KeyCall): Promise<Response> {
  const input = historyInput(url.searchParams, principal.region)
  const page = unwrap(await reach('list the history', objects.account(principal.account).history(input)))
  return Response.json(page satisfies History)
}

/** `GET /v1/usage` */
export async function readAccountUsage({ objects, principal }: KeyCall): Promise<Response> {
  const used = await reach('measure the account', objects.account(principal.account).usage())
  return Response.json(used satisfies AccountUsage)
}
