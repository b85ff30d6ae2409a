/** `GET /v1/runs/{id}/terminal`: a terminal on a WebSocket. The first opens it; others find it by `session` while it lingers. */

import { terminalSize } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newConsoleId, parseConsoleId } from '@portico/shared/ids'
import { noteCall } from '../audit/calls.ts'
import type { KeyCall } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { NewConsole } from '../ports.ts'
import { terminalStart } from './consoles.ts'
import { assertSocket, found, joined, numberIn } from './joined.ts'
import { sandboxOf } from './runs.ts'

/** Seconds that a session lives on without a socket. */
const usualLinger = 60
const longestLinger = 86_400

export async function terminal(call: KeyCall): Promise<Response> {
  return attach(call, 'terminal', (text) => {
    const size = { cols: numberIn(call.url, 'cols', 1, 1000), rows: numberIn(call.url, 'rows', 1, 1000) }
    const { cols, rows } = terminalSize.parse(size)
    const command = text('command')
    const start = terminalStart({ command, cwd: text('cwd'), user: text('user'), cols, rows })
    return { cols, rows, start, noted: { command: command ?? null } }
  })
}

interface Asked {
  readonly cols: number
  readonly rows: number
  readonly start: object
  /** For the audit log. */
  readonly noted: Readonly<Record<string, unknown>>
}

/** Finds the session that the query names, or opens one, and joins its socket. */
export async function attach(
  call: KeyCall,
  kind: 'terminal' | 'shell',
  ask: (text: (name: string) => string | undefined) => Asked,
): Promise<Response> {
  const { id: run } = sandboxOf(call)
  await assertSocket(call, `open the ${kind}`)
  const { principal: caller, url } = call
  const text = (name: string) => url.searchParams.get(name) ?? undefined
  const session = call.parameter('session') || text('session')
  const from = numberIn(url, 'from', 0, Number.MAX_SAFE_INTEGER) ?? null
  if (session !== undefined) {
    const id = parseConsoleId(session)
    if (id === undefined) return await found(call, Promise.reject(unknownSession()))
    return joined(call, id, { caller, run, kind, access: 'write', from })
  }
  const lingerMs = (numberIn(url, 'linger', 0, longestLinger) ?? usualLinger) * 1000
  const { noted, ...asked } = ask(text)
  const id = newConsoleId()
  const input: NewConsole = { ...caller, id, kind, run, name: null, lingerMs, ...asked }
  unwrap(await reach(`open the ${kind}`, call.objects.console(id).open(input)))
  noteCall(call, run, `${kind}.opened`, { session: id, ...noted })
  return joined(call, id, { caller, run, kind, access: 'write', from })
}

function unknownSession(): AppError {
  return new AppError('not_found', 'cannot find the session: there is none with this id')
}
