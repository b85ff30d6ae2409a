/** Commands in a sandbox. */

import { execResponse } from '@portico/shared/api'
import { commandFields, type GuestCommand } from './command.ts'
import { execDefaultSec, execGraceMs } from './limits.ts'
import type { Transport } from './transport.ts'

/** How to run a command. */
export interface ExecOptions {
  /** Seconds after which the command and all that it started are ended; 30 unless told, at most a day. */
  readonly timeoutSec?: number | undefined
  /** Added to the sandbox's own variables. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Working directory; `/` unless told. */
  readonly cwd?: string | undefined
  /** Text for the command's standard input, which is empty otherwise. Bytes go as a file: `files.write`. */
  readonly stdin?: string | undefined
  /** A name or number of the sandbox's `/etc/passwd`, `:group` if wanted; root unless told. */
  readonly user?: string | undefined
  /** Is told what it prints on standard output, as it comes. While a promise that it answers is pending, the command waits. */
  readonly onStdout?: ((text: string) => unknown) | undefined
  /** The same for standard error. */
  readonly onStderr?: ((text: string) => unknown) | undefined
  /** Is told how many bytes of output never came, where one of the former is given. */
  readonly onGap?: ((lost: number) => void) | undefined
  /** Ends the call, and with it the command. */
  readonly signal?: AbortSignal | undefined
}

/** How a command ended. A non-zero exit code is an ordinary result. */
export interface ExecResult {
  /** 128 + signal where a signal ended it, 124 where its timeout did, 126 or 127 where it could not be started. */
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
  /** Its timeout ended it; what it printed until then is here. */
  readonly timedOut: boolean
  readonly durationMs: number
  /** The signal that ended it, such as `SIGKILL`. */
  readonly signal: string | undefined
  /** It printed more than is kept (10 MiB); the rest was dropped. */
  readonly stdoutTruncated: boolean
  readonly stderrTruncated: boolean
}

/** @internal */
export async function exec(
  transport: Transport,
  sandboxPath: string,
  command: GuestCommand,
  options: ExecOptions,
): Promise<ExecResult> {
  const { timeoutSec = execDefaultSec, env, cwd, stdin, user, signal } = options
  const answer = await transport.json(
    {
      method: 'POST',
      path: `${sandboxPath}/exec`,
      doing: 'run the command',
      limitMs: timeoutSec * 1000 + execGraceMs,
      json: { ...commandFields(command), timeout: timeoutSec, env, cwd, stdin, user },
      signal,
    },
    execResponse,
  )
  return {
    exitCode: answer.exit_code,
    stdout: answer.stdout,
    stderr: answer.stderr,
    timedOut: answer.timed_out,
    durationMs: answer.duration_ms,
    signal: answer.signal,
    stdoutTruncated: answer.stdout_truncated,
    stderrTruncated: answer.stderr_truncated,
  }
}
