/** A guest that knows a handful of commands and does what the agent does with them: exit codes, text on both streams, 124 and 127. */

import type { ExecRequest, ExecResponse } from '@portico/shared/api'
import type { SeenRequest } from './wire-server.ts'

/** The agent's answer to a command that printed `stdout` and ended well, unless told otherwise. */
export function execAnswer(changes: Partial<ExecResponse> = {}): ExecResponse {
  return {
    exit_code: 0,
    stdout: '',
    stderr: '',
    timed_out: false,
    duration_ms: 3,
    stdout_truncated: false,
    stderr_truncated: false,
    ...changes,
  }
}

/**
 * `echo WORD…`, `cat` (its stdin), `printenv NAME`, `pwd`, `exit CODE`, `complain TEXT` (on stderr), `slow` (ends by its timeout), `hang` (until the
 * caller goes). Anything else is not found. A shell line is the same, read word by word.
 */
export async function scriptedGuest(request: ExecRequest, seen: SeenRequest): Promise<ExecResponse> {
  const [program = '', ...args] = typeof request.command === 'string' ? request.command.split(' ') : request.command
  switch (program) {
    case 'echo':
      return execAnswer({ stdout: `${args.join(' ')}\n` })
    case 'cat':
      return execAnswer({ stdout: request.stdin ?? '' })
    case 'printenv':
      return execAnswer({ stdout: `${request.env?.[args[0] ?? ''] ?? ''}\n` })
    case 'pwd':
      return execAnswer({ stdout: `${request.cwd ?? '/'}\n` })
    case 'exit':
      return execAnswer({ exit_code: Number(args[0]) })
    case 'complain':
      return execAnswer({ exit_code: 1, stderr: `${args.join(' ')}\n` })
    case 'slow':
      return execAnswer({ exit_code: 124, stdout: 'so far\n', timed_out: true, duration_ms: request.timeout * 1000 })
    case 'hang':
      await seen.abandoned
      return execAnswer({ exit_code: 137, signal: 'SIGKILL' })
    default:
      return execAnswer({ exit_code: 127, stderr: `exec: ${program}: not found\n` })
  }
}
