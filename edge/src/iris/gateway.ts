/**
 * `POST /iris.public.v1.SandboxService/{Method}`: a sandbox's life as Iris asks for it. Everything is done by the functions that serve `/v1/runs`; what is
 * of this surface is the names, the states and the token that goes along.
 */

import { forkResponse, type RunRecord, runRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { Call, KeyCall } from '../call.ts'
import { Refusal } from '../middleware/refusal.ts'
import { succeeded } from '../middleware/succeeded.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { forkRun } from '../routes/copies.ts'
import { createRun, destroyRun, hibernateRun, resumeRun, runRequest, sandboxOf } from '../routes/runs.ts'
import { irisSandboxOf, irisTokenOf, withToken } from './answers.ts'
import type { CreateMessage, ForkMessage, SandboxMessage, TokenMessage } from './requests.ts'

/** A call about the sandbox that a message names, as `/v1/runs/{id}/…` would get it. */
function about<Body>(call: Call<'key', SandboxMessage>, body: Body): Call<'key', Body> {
  return { ...call, url: call.url, body, parameter: () => call.body.sandbox_id }
}

/** `CreateSandbox`: of the deployment's one shape, without an idle time. */
export async function createSandbox(call: Call<'key', CreateMessage>): Promise<Response> {
  const { name } = call.body
  const image = call.env.IRIS_IMAGE || 'python'
  const body = runRequest.parse({ image, timeout: 0, ...(name === undefined ? {} : { name }) })
  const made = await succeeded(await createRun({ ...call, url: call.url, body }))
  return withToken(call, runRecord.parse(made))
}

/** `ListSandboxes`: all of them. */
export async function listSandboxes(call: KeyCall): Promise<Response> {
  const { objects, principal } = call
  const runs: RunRecord[] = []
  let cursor: string | undefined
  do {
    const input = { region: principal.region, ...(cursor === undefined ? {} : { cursor }) }
    const page = unwrap(await reach('list sandboxes', objects.account(principal.account).list(input)))
    runs.push(...page.runs)
    cursor = page.next_cursor
  } while (cursor !== undefined)
  return Response.json({ sandboxes: runs.map((record) => irisSandboxOf(record, call)) })
}

/** `GetSandbox` */
export async function getSandbox(call: Call<'key', SandboxMessage>): Promise<Response> {
  const { sandbox } = sandboxOf(about(call, undefined))
  const record = unwrap(await reach('read the sandbox', sandbox.read(call.principal)))
  return Response.json({ sandbox: irisSandboxOf(record, call) })
}

/** `ForkSandbox`: files and memory, one child. */
export async function forkSandbox(call: Call<'key', ForkMessage>): Promise<Response> {
  const { principal, objects } = call
  const { forks } = forkResponse.parse(await succeeded(await forkRun(about(call, { count: 1 }))))
  const [child] = forks
  if (child === undefined) throw new AppError('internal', 'cannot fork the sandbox: nothing came to be')
  const { name } = call.body
  if (name === undefined) return withToken(call, child)
  const named = objects.sandbox(child.id).update(principal, { name })
  return withToken(call, unwrap(await reach('name the fork', named)))
}

/** `SuspendSandbox`; one that sleeps is left alone. */
export async function suspendSandbox(call: Call<'key', SandboxMessage>): Promise<Response> {
  const record = runRecord.parse(await succeeded(await hibernateRun(about(call, undefined))))
  return Response.json({ sandbox: irisSandboxOf(record, call) })
}

/** `ResumeSandbox`; one that is awake is left alone. */
export async function resumeSandbox(call: Call<'key', SandboxMessage>): Promise<Response> {
  const record = runRecord.parse(await succeeded(await resumeRun(about(call, undefined))))
  return withToken(call, record)
}

/** `DeleteSandbox`: also of one that was deleted already. */
export async function deleteSandbox(call: Call<'key', SandboxMessage>): Promise<Response> {
  const inner = about(call, undefined)
  const { sandbox } = sandboxOf(inner)
  try {
    await destroyRun(inner)
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'sandbox_not_found') throw thrown
    // The audit log of one that is over is still its owner's: that tells it from one that never was.
    const known = await reach('destroy the sandbox', sandbox.note(call.principal, []))
    if (!known.ok) throw thrown
  }
  return Response.json({})
}

/** `IssueDataPlaneToken` */
export async function issueToken(call: Call<'key', TokenMessage>): Promise<Response> {
  const { id, sandbox } = sandboxOf(about(call, undefined))
  unwrap(await reach('read the sandbox', sandbox.read(call.principal)))
  return Response.json(await irisTokenOf(call, id, call.body.ttl_seconds))
}

/** What no other row takes: another HTTP method than POST, or a method that there is not. */
export async function refuseMethod({ request: { method } }: Call<'public'>): Promise<Response> {
  if (method !== 'POST') {
    const why = `cannot ${method} this path: it takes POST`
    throw new Refusal('method_not_allowed', why, { headers: { allow: 'POST' }, status: 405 })
  }
  throw new AppError('unsupported', 'cannot call the method: iris.public.v1.SandboxService has none of this name')
}
