/** `POST /v1/runs/{id}/exec`: a command in the sandbox. The agent's answer is the API's, so it passes through; only the exit code, with which it begins, is read for the audit log. */

import { ExecNotes } from '../audit/calls.ts'
import { readExitCode } from '../audit/exit-code.ts'
import type { Call } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { jsonContent } from '../process/ask.ts'
import { type CommandRequest, execCommand, spawnCommand } from '../process/command.ts'
import { startProcess } from '../process/start.ts'
import { type Span, traced } from '../tracing/span.ts'
import { sandboxOf } from './runs.ts'

/** The agent ends the command at its timeout; so long after that its answer must be here. */
const graceMs = 30_000

export async function exec(call: Call<'key', CommandRequest>): Promise<Response> {
  const { id } = sandboxOf(call)
  const { body } = call
  if (body.detach) return startProcess(call, id, body.command, spawnCommand(body))
  return traced(call, 'sandbox.exec', { 'portico.sandbox.id': id }, (span) => run(call, id, span))
}

async function run(call: Call<'key', CommandRequest>, id: string, span: Span): Promise<Response> {
  const { body } = call
  const command = execCommand(body)
  const notes = new ExecNotes(call, id, body.command)
  try {
    const answer = await callGuest(call, id, {
      method: 'POST',
      path: '/exec',
      ...jsonContent(command),
      waitMs: command.timeout_ms + graceMs,
      trace: span.trace,
    })
    const { exitCode, body: passed } = await readExitCode(answer)
    notes.ended(exitCode)
    if (exitCode !== null) span.note({ 'portico.exit_code': exitCode })
    return new Response(passed, { headers: { 'content-type': 'application/json' } })
  } catch (thrown) {
    notes.failed(thrown)
    throw thrown
  }
}
