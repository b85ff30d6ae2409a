/** `POST /v1/exec` on a sandbox's own host. */

import type { irisExecRequest } from '@portico/shared/api'
import type { z } from 'zod'
import { ExecNotes } from '../audit/calls.ts'
import type { SandboxCall } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { jsonContent } from '../process/ask.ts'
import { commandRequest, execCommand } from '../process/command.ts'
import { sandboxOf } from '../routes/runs.ts'
import { type Span, traced } from '../tracing/span.ts'
import { execAnswer } from './exec-answer.ts'

/** The agent ends the command at its timeout; so long after that its answer must be here. */
const graceMs = 30_000

type ExecCall = SandboxCall<z.output<typeof irisExecRequest>>

export async function execInside(call: ExecCall): Promise<Response> {
  const { id } = sandboxOf(call)
  return traced(call, 'sandbox.exec', { 'portico.sandbox.id': id }, (span) => run(call, id, span))
}

async function run(call: ExecCall, id: string, span: Span): Promise<Response> {
  const { cmd, dir = '/', env, timeout_ms, stdin, user } = call.body
  const asked = { command: cmd, cwd: dir, env, timeout: timeout_ms / 1000, stdin, user }
  const command = execCommand(commandRequest.parse(asked))
  const notes = new ExecNotes(call, id, cmd)
  try {
    const request = {
      method: 'POST',
      path: '/exec',
      ...jsonContent(command),
      waitMs: command.timeout_ms + graceMs,
      trace: span.trace,
    } as const
    const { exitCode, response } = await execAnswer(await callGuest(call, id, request))
    notes.ended(exitCode)
    if (exitCode !== null) span.note({ 'portico.exit_code': exitCode })
    return response
  } catch (thrown) {
    notes.failed(thrown)
    throw thrown
  }
}
