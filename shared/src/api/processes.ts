/** `/v1/runs/{id}/processes`: commands that run on by themselves, their output kept in the sandbox. */

import { z } from 'zod'
import { execFields, runsSomething } from './exec.ts'

export const terminalSize = z.object({
  cols: z.int().min(1).max(1000).default(80),
  rows: z.int().min(1).max(1000).default(24),
})
export type TerminalSize = z.infer<typeof terminalSize>

/** `POST /v1/runs/{id}/processes`. Without `timeout` it runs for as long as the sandbox does. */
export const spawnFields = execFields.omit({ timeout: true, detach: true }).extend({
  timeout: z.number().positive().max(3_600_000).optional(),
  /** Its standard input stays open for `…/stdin`; otherwise it ends after `stdin`. */
  stdin_open: z.boolean().optional(),
  /** Runs it on a terminal. */
  tty: terminalSize.optional(),
  /** How much of its output is kept, in bytes. */
  buffer_bytes: z.int().min(65_536).max(67_108_864).optional(),
})
export const spawnRequest = spawnFields.check(runsSomething)
export type SpawnRequest = z.infer<typeof spawnRequest>

/** How a process ended. */
export const processEnding = z.object({
  exit_code: z.int(),
  signal: z.string().optional(),
  timed_out: z.boolean(),
  duration_ms: z.number(),
})
export type ProcessEnding = z.infer<typeof processEnding>

export const processRecord = z.object({
  id: z.string(),
  pid: z.int(),
  argv: z.array(z.string()),
  started_at: z.string(),
  state: z.enum(['running', 'exited']),
  tty: z.boolean(),
  /** The first offset of the output that is still kept. */
  output_start: z.number(),
  output_end: z.number(),
  /** How many bytes of standard input were taken. */
  stdin_end: z.number(),
  ending: processEnding.optional(),
})
export type ProcessRecord = z.infer<typeof processRecord>

export const processList = z.object({ processes: z.array(processRecord) })
export type ProcessList = z.infer<typeof processList>

/** `POST …/processes/{process}/signal`: a name such as `SIGINT` or `INT`. */
export const signalRequest = z.object({ signal: z.string().min(1).max(16) })
export type SignalRequest = z.infer<typeof signalRequest>

/** `POST …/processes/{process}/stdin` */
export const stdinResponse = z.object({ stdin_end: z.number() })
export type StdinResponse = z.infer<typeof stdinResponse>
