/** What the processes of the wire server do unless a test says otherwise: what the guest answers to an `exec`, printed. */

import { type ExecRequest, type ExecResponse, execRequest, type SpawnRequest } from '@portico/shared/api'
import type { WireProcess } from './wire-processes.ts'
import type { SeenRequest } from './wire-request.ts'

type Guest = (request: ExecRequest, seen: SeenRequest) => Promise<ExecResponse> | ExecResponse

/** `cat` with an open input prints what it reads as it comes; `hang` waits for a signal, `stubborn` for SIGKILL. */
export async function printAnswer(
  process: WireProcess,
  request: SpawnRequest,
  seen: SeenRequest,
  guest: Guest,
): Promise<void> {
  const { command } = request
  const program = typeof command === 'string' ? command.split(' ')[0] : command[0]
  if (program === 'cat' && process.isStdinOpen) return await cat(process)
  if (program === 'hang') return await hang(process)
  if (program === 'stubborn') return
  const { tty: _tty, stdin_open: _open, buffer_bytes: _buffer, ...asked } = request
  const answer = await guest(execRequest.parse(asked), seen)
  if (answer.stdout !== '') process.print('stdout', answer.stdout)
  if (answer.stderr !== '') process.print('stderr', answer.stderr)
  const { exit_code, timed_out, duration_ms, signal } = answer
  process.exit(exit_code, { timed_out, duration_ms, ...(signal === undefined ? {} : { signal }) })
}

async function hang(process: WireProcess): Promise<void> {
  await process.until(() => process.signals.length > 0)
  process.exit(130, { signal: process.signals[0] ?? 'SIGINT' })
}

async function cat(process: WireProcess): Promise<void> {
  let told = 0
  for (;;) {
    if (process.stdin.length > told) process.print('stdout', process.stdin.subarray(told))
    told = process.stdin.length
    if (!process.isStdinOpen) return process.exit(0)
    await process.changed()
  }
}
