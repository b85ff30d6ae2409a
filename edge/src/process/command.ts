/** Commands as the API takes them, put as the agent takes them. */

import { execFields, runsSomething, type SpawnRequest } from '@portico/shared/api'
import type { GuestExecRequest, GuestSpawnRequest } from '@portico/shared/guest'
import { z } from 'zod'

/** What a command may take, in seconds, unless its caller says otherwise. */
const usualTimeout = 30

/** `execRequest`, which shows whether a timeout was asked for: what is detached has none otherwise. */
export const commandRequest = execFields
  .extend({ timeout: z.number().positive().max(86_400).optional() })
  .check(runsSomething)
export type CommandRequest = z.output<typeof commandRequest>

/** A command that is waited for. */
export function execCommand(body: CommandRequest): GuestExecRequest & { timeout_ms: number } {
  return { ...basics(body), timeout_ms: milliseconds(body.timeout ?? usualTimeout) }
}

/** A process that is kept. */
export function spawnCommand(body: SpawnRequest): GuestSpawnRequest {
  const { timeout, stdin_open, tty, buffer_bytes } = body
  return {
    ...basics(body),
    ...(timeout === undefined ? {} : { timeout_ms: milliseconds(timeout) }),
    ...(stdin_open === undefined ? {} : { stdin_open }),
    ...(tty === undefined ? {} : { tty }),
    ...(buffer_bytes === undefined ? {} : { buffer_bytes }),
  }
}

function basics({ env, cwd, user, stdin, ...body }: CommandRequest | SpawnRequest): GuestExecRequest {
  return {
    ...words(body),
    ...(env === undefined ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(user === undefined ? {} : { user }),
    ...(stdin === undefined ? {} : { stdin: base64(encoder.encode(stdin)) }),
  }
}

/** What is to be run. */
function words({
  command,
  entrypoint,
  args,
}: Pick<CommandRequest, 'command' | 'entrypoint' | 'args'>): GuestExecRequest {
  if (entrypoint) return { entrypoint, ...(args === undefined ? {} : { args }) }
  return typeof command === 'string' ? { shell: command } : { argv: command }
}

function milliseconds(seconds: number): number {
  return Math.ceil(seconds * 1000)
}

const encoder = new TextEncoder()
/** So many characters are made of bytes with one call. */
const piece = 8192

/** Bytes in base64. */
export function base64(bytes: Uint8Array): string {
  let binary = ''
  for (let at = 0; at < bytes.length; at += piece) binary += String.fromCharCode(...bytes.subarray(at, at + piece))
  return btoa(binary)
}
