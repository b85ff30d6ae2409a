/** `POST /v1/runs/{id}/exec`: a command in the sandbox. The agent's answer is the API's, so it passes through; only the exit code, with which it begins, is read for the audit log. */

import type { ExecRequest } from '@portico/shared/api'
import type { GuestExecRequest } from '@portico/shared/guest'
import { ExecNotes } from '../audit/calls.ts'
import { readExitCode } from '../audit/exit-code.ts'
import type { Call } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { sandboxOf } from './runs.ts'

/** The agent ends the command at its timeout; so long after that its answer must be here. */
const graceMs = 30_000

export async function exec(call: Call<'key', ExecRequest>): Promise<Response> {
  const { id } = sandboxOf(call)
  const command = guestCommand(call.body)
  const body = JSON.stringify(command)
  const notes = new ExecNotes(call, id, call.body.command)
  try {
    const answer = await callGuest(call, id, {
      method: 'POST',
      path: '/exec',
      headers: { 'content-type': 'application/json', 'content-length': String(byteLength(body)) },
      body,
      waitMs: command.timeout_ms + graceMs,
    })
    const { exitCode, body: passed } = await readExitCode(answer)
    notes.ended(exitCode)
    return new Response(passed, { headers: { 'content-type': 'application/json' } })
  } catch (thrown) {
    notes.failed(thrown)
    throw thrown
  }
}

function guestCommand(body: ExecRequest): GuestExecRequest & { timeout_ms: number } {
  const { command, timeout, env, cwd, stdin } = body
  return {
    ...(typeof command === 'string' ? { shell: command } : { argv: command }),
    ...(env === undefined ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(stdin === undefined ? {} : { stdin: base64(stdin) }),
    timeout_ms: Math.ceil(timeout * 1000),
  }
}

const encoder = new TextEncoder()

function byteLength(text: string): number {
  return encoder.encode(text).byteLength
}

function base64(text: string): string {
  let binary = ''
  for (const byte of encoder.encode(text)) binary += String.fromCharCode(byte)
  return btoa(binary)
}
