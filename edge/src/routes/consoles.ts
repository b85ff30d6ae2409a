/** `/v1/runs/{id}/consoles`: terminals that several may look at. Each is an object of its own; its sandbox keeps the list. */

import type { ConsoleLink, ConsoleList, ConsoleRecord, ConsoleRequest, consoleLinkRequest } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newConsoleId, parseConsoleId } from '@portico/shared/ids'
import type { z } from 'zod'
import { noteCall } from '../audit/calls.ts'
import { makeLinkToken } from '../auth/link-tokens.ts'
import type { Call, KeyCall } from '../call.ts'
import { signingSecret } from '../env.ts'
import { type Outcome, unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { assertSocket, found, joined, numberIn } from './joined.ts'
import { sandboxOf } from './runs.ts'

/** What its process's own buffer holds while nobody reads. */
const bufferBytes = 1_048_576
/** The sandbox's shell. */
export const usualShell = { shell: 'command -v bash >/dev/null && exec bash -l || exec sh -l' }
const usualEnv = { TERM: 'xterm-256color' }

/** `POST /v1/runs/{id}/consoles` */
export async function createConsole(call: Call<'key', ConsoleRequest>): Promise<Response> {
  const { id: run, sandbox } = sandboxOf(call)
  const { command, env, cwd, user, name = null, cols, rows } = call.body
  const id = newConsoleId()
  unwrap(await reach('create the console', sandbox.addConsole(call.principal, id)))
  const start = terminalStart({ command, env, cwd, user, cols, rows })
  const input = { ...call.principal, id, kind: 'console', run, name, cols, rows, lingerMs: null, start } as const
  const opened = await reach('create the console', call.objects.console(id).open(input))
  if (!opened.ok) {
    await reach('create the console', sandbox.removeConsole(call.principal, id))
    throw AppError.fromWire(opened.error)
  }
  noteCall(call, run, 'console.created', { console: id, command: command ?? null })
  return Response.json(opened.value satisfies ConsoleRecord, { status: 201 })
}

export interface TerminalStart {
  readonly command?: string | readonly string[] | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly cwd?: string | undefined
  readonly user?: string | undefined
  readonly cols: number
  readonly rows: number
}

/** What the agent is asked for a process on a terminal. */
export function terminalStart({ command, env, cwd, user, cols, rows }: TerminalStart): object {
  return {
    ...(command === undefined ? usualShell : typeof command === 'string' ? { shell: command } : { argv: command }),
    env: { ...usualEnv, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    ...(user === undefined ? {} : { user }),
    tty: { cols, rows },
    buffer_bytes: bufferBytes,
  }
}

/** `GET /v1/runs/{id}/consoles` */
export async function listConsoles(call: KeyCall): Promise<Response> {
  const { id: run, sandbox } = sandboxOf(call)
  const ids = unwrap(await reach('list consoles', sandbox.consoles(call.principal)))
  const described = await Promise.all(
    ids.map((id) => reach('read the console', call.objects.console(id).describe(call.principal, run))),
  )
  const consoles = described.flatMap((one) => (one.ok ? [one.value] : []))
  return Response.json({ consoles } satisfies ConsoleList)
}

/** `GET /v1/runs/{id}/consoles/{console}` */
export async function readConsole(call: KeyCall): Promise<Response> {
  const { run, console } = await consoleOf(call)
  return Response.json(await answered(call, 'read the console', console.describe(call.principal, run)))
}

/** `DELETE /v1/runs/{id}/consoles/{console}`: its process ends. */
export async function deleteConsole(call: KeyCall): Promise<Response> {
  const { id, run, console } = await consoleOf(call)
  await answered(call, 'delete the console', console.end(call.principal, run))
  noteCall(call, run, 'console.deleted', { console: id })
  return Response.json({ id, status: 'deleted' })
}

/** `POST /v1/runs/{id}/consoles/{console}/links` */
export async function linkConsole(call: Call<'key', z.output<typeof consoleLinkRequest>>): Promise<Response> {
  const { id, run, console } = await consoleOf(call)
  await answered(call, 'read the console', console.describe(call.principal, run))
  const { access, expires_in } = call.body
  const until = call.services.clock.now() + expires_in * 1000
  const token = await makeLinkToken(signingSecret(call.env), { ...call.principal, run, console: id, access, until })
  const expires_at = new Date(until).toISOString()
  noteCall(call, run, 'console.linked', { console: id, access, expires_at })
  const url = `${call.url.origin}/console/#/c/${run}/${id}?token=${token}`
  return Response.json({ url, token, access, expires_at } satisfies ConsoleLink, { status: 201 })
}

/** `GET /v1/runs/{id}/consoles/{console}/attach`: a WebSocket. A key that may use the sandbox writes, one that may read looks on, a link does what it says. */
export async function attachConsole(call: KeyCall): Promise<Response> {
  const { id, run } = await consoleOf(call)
  await assertSocket(call, 'attach to the console')
  const { link, scope } = call
  // A link for something else knows nothing of this.
  if (link !== undefined && (link.run !== run || link.console !== id)) throw notFound()
  const access = link?.access ?? (scope === 'read-only' ? 'read' : 'write')
  const from = numberIn(call.url, 'from', 0, Number.MAX_SAFE_INTEGER) ?? null
  return joined(call, id, { caller: call.principal, run, kind: 'console', access, from })
}

/** The console that a path names. What cannot be an id costs no object of its own. */
async function consoleOf(call: KeyCall) {
  const { id: run } = sandboxOf(call)
  const id = parseConsoleId(call.parameter('console'))
  if (id === undefined) return await found(call, Promise.reject(notFound()))
  return { run, id, console: call.objects.console(id) }
}

async function answered<Value>(call: KeyCall, what: string, asked: Promise<Outcome<Value>>): Promise<Value> {
  return await found(call, reach(what, asked).then(unwrap))
}

function notFound(): AppError {
  return new AppError('not_found', 'cannot find the console: there is none with this id')
}
