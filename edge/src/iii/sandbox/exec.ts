/** `sandbox::exec`: one command, its output when it is over. */

import { guestExecResponse } from '@portico/shared/guest'
import type { SandboxId } from '@portico/shared/ids'
import { z } from 'zod'
import { ExecNotes } from '../../audit/calls.ts'
import { callGuest } from '../../guest/call-guest.ts'
import { jsonContent, readAnswer } from '../../process/ask.ts'
import { traced } from '../../tracing/span.ts'
import { lengthOf } from '../../tunnel/bodies.ts'
import type { InvocationContext } from '../context.ts'
import { Fault } from '../errors.ts'
import { iiiFunction } from '../functions.ts'
import { inSandbox } from '../named-sandbox.ts'
import { argumentsOf } from './command-line.ts'
import { variables, variablesOf } from './variables.ts'

const usualTimeoutMs = 30_000
const longestTimeoutMs = 86_400_000
/** The agent ends the command at its timeout; so long after that its answer must be here. */
const graceMs = 30_000
/** Of each of the two outputs; the rest is dropped. */
const mostOutput = 1_048_576
/** Of an answer that does not say how long it is. */
const mostAnswer = 16_777_216

export const execPayload = z.object({
  sandbox_id: z.string(),
  cmd: z.string().nullish(),
  args: z.array(z.string()).nullish(),
  argv: z.array(z.string()).nullish(),
  timeout_ms: z.int().min(0).nullish(),
  /** Base64. */
  stdin: z.string().nullish(),
  env: variables,
  workdir: z.string().nullish(),
})

/** A command as the agent takes it. */
export interface Command {
  readonly argv: readonly string[]
  readonly timeoutMs: number
  readonly stdin?: string | undefined
  readonly env: Readonly<Record<string, string>>
  readonly workdir?: string | undefined
}

export const exec = iiiFunction({
  id: 'sandbox::exec',
  needs: 'use',
  schema: execPayload,
  handle: (payload, context) =>
    inSandbox(context, payload.sandbox_id, async (id) => {
      const command = commandOf(argumentsOf(payload), payload)
      return context.locks.during(id, () => runCommand(context, id, command))
    }),
})

/** The command of a payload. S001 for what is wrong with it. */
export function commandOf(
  argv: readonly string[],
  { timeout_ms, stdin, env, workdir }: Omit<z.output<typeof execPayload>, 'sandbox_id' | 'cmd' | 'args' | 'argv'>,
): Command {
  if (stdin != null && !isBase64(stdin)) throw new Fault('S001', 'stdin is not valid base64')
  const timeoutMs = Math.min(Math.max(timeout_ms ?? usualTimeoutMs, 1), longestTimeoutMs)
  return { argv, timeoutMs, stdin: stdin ?? undefined, env: variablesOf(env), workdir: workdir ?? undefined }
}

/** Runs it. S200 where its time is over. */
export async function runCommand(context: InvocationContext, id: SandboxId, command: Command) {
  const call = context.call(id)
  const { argv, timeoutMs, stdin = '', env, workdir } = command
  const asked = {
    argv,
    timeout_ms: timeoutMs,
    max_output_bytes: mostOutput,
    ...(stdin === '' ? {} : { stdin }),
    ...(Object.keys(env).length === 0 ? {} : { env }),
    ...(workdir === undefined ? {} : { cwd: workdir }),
  }
  return traced(call, 'sandbox.exec', { 'portico.sandbox.id': id }, async (span) => {
    const notes = new ExecNotes(call, id, [...argv])
    try {
      const request = { method: 'POST', path: '/exec', ...jsonContent(asked), waitMs: timeoutMs + graceMs } as const
      const answer = await callGuest(call, id, { ...request, trace: span.trace })
      const length = lengthOf(answer.headers.get('content-length')) ?? mostAnswer
      const over = await context.locks.answers.during(length, () => readAnswer(answer, guestExecResponse))
      notes.ended(over.exit_code)
      span.note({ 'portico.exit_code': over.exit_code })
      if (over.timed_out) throw new Fault('S200', `exec timed out after ${timeoutMs}ms`)
      const { stdout, stderr, exit_code, duration_ms } = over
      const how = { timed_out: false, duration_ms: Math.round(duration_ms), success: exit_code === 0 }
      return { stdout, stderr, exit_code, ...how }
    } catch (thrown) {
      if (!(thrown instanceof Fault)) notes.failed(thrown)
      throw thrown
    }
  })
}

function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)
}
