/** `/v1/runs/{id}/consoles`: terminals that several may look at, and that outlive whoever looks. */

import { z } from 'zod'
import { commandWords } from './exec.ts'
import { spawnFields, terminalSize } from './processes.ts'

/** `POST /v1/runs/{id}/consoles`. Without a command: the sandbox's shell. */
export const consoleRequest = spawnFields
  .pick({ env: true, cwd: true, user: true })
  .extend({ command: commandWords.optional(), name: z.string().max(128).optional() })
  .extend(terminalSize.shape)
export type ConsoleRequest = z.infer<typeof consoleRequest>

export const consoleRecord = z.object({
  id: z.string(),
  run: z.string(),
  /** Of its process, as under `…/processes`. */
  process: z.string(),
  name: z.string().optional(),
  cols: z.int(),
  rows: z.int(),
  state: z.enum(['running', 'exited', 'lost']),
  exit_code: z.int().optional(),
  viewers: z.int(),
  created_at: z.string(),
})
export type ConsoleRecord = z.infer<typeof consoleRecord>

export const consoleList = z.object({ consoles: z.array(consoleRecord) })
export type ConsoleList = z.infer<typeof consoleList>

/** `POST …/consoles/{console}/links`: `expires_in` in seconds. */
export const consoleLinkRequest = z.object({
  access: z.enum(['read', 'write']).default('read'),
  expires_in: z.int().min(1).max(2_592_000).default(3600),
})
/** `token` opens `…/attach?token=`; `url` is the web page on it. */
export const consoleLink = z.object({
  url: z.string(),
  token: z.string(),
  access: z.enum(['read', 'write']),
  expires_at: z.string(),
})
export type ConsoleLink = z.infer<typeof consoleLink>

/**
 * Text frames from a console; binary frames are what its terminal prints. `joined` comes first, then the scrollback as binary frames, then `live`.
 * `gap`: so many bytes are gone for good. `link`: whether the sandbox is reached right now.
 */
export const consoleEvent = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('joined'),
    console: z.string(),
    access: z.enum(['read', 'write']),
    cols: z.int(),
    rows: z.int(),
    /** Offset of the first byte of scrollback that follows. */
    offset: z.number(),
  }),
  z.object({ type: z.literal('live') }),
  z.object({ type: z.literal('size'), cols: z.int(), rows: z.int() }),
  z.object({ type: z.literal('viewers'), count: z.int() }),
  z.object({ type: z.literal('gap'), bytes: z.number() }),
  z.object({ type: z.literal('link'), state: z.enum(['connected', 'reconnecting']), reason: z.string().optional() }),
  z.object({ type: z.literal('exit'), exit_code: z.int(), signal: z.string().optional() }),
  z.object({ type: z.literal('error'), code: z.string(), error: z.string() }),
])
export type ConsoleEvent = z.infer<typeof consoleEvent>

/**
 * Text frames to a console; binary frames are keystrokes. `ack`: how many bytes of binary frames were shown since joining; who sends one is never sent
 * more than 1 MiB ahead of the last, who sends none is sent what comes.
 */
export const consoleInput = z.discriminatedUnion('type', [
  z.object({ type: z.literal('resize') }).extend(terminalSize.shape),
  z.object({ type: z.literal('ack'), bytes: z.number().min(0) }),
])
export type ConsoleInput = z.infer<typeof consoleInput>
