/** `POST /v1/runs/{id}/exec` */

import { z } from 'zod'

/** A line for the shell, or words that no shell reads. */
export const commandWords = z.union([z.string().min(1), z.array(z.string()).min(1)])

/**
 * A command is a shell string, or a list of arguments that no shell reads; or there is none and `entrypoint` runs what the image runs, with `args` or else
 * with the image's own. `timeout` is in seconds, as the documented client sends it.
 */
export const execFields = z.object({
  command: commandWords.default([]),
  entrypoint: z.boolean().optional(),
  args: z.array(z.string()).max(4096).optional(),
  timeout: z.number().positive().max(86_400).default(30),
  env: z.record(z.string(), z.string()).optional(),
  cwd: z.string().optional(),
  /** A name or number of the sandbox's `/etc/passwd`, `:group` if wanted. */
  user: z.string().min(1).optional(),
  /** UTF-8 text. */
  stdin: z.string().optional(),
  /** The answer is the process, at once: it runs on by itself, without a timeout unless one is given. */
  detach: z.boolean().optional(),
})
/** Exactly one of the two says what is run; `args` are the entrypoint's. */
const saysWhatToRun = ({ command, entrypoint, args }: Asked) =>
  entrypoint === true ? command.length === 0 : command.length > 0 && args === undefined

interface Asked {
  readonly command: string | readonly string[]
  readonly entrypoint?: boolean | undefined
  readonly args?: readonly string[] | undefined
}

/** The rule of every request that has these fields. */
export const runsSomething = z.refine<Asked>(saysWhatToRun, 'give either command, or entrypoint: true and its args')

export const execRequest = execFields.check(runsSomething)
export type ExecRequest = z.infer<typeof execRequest>

/** A non-zero exit code is an ordinary answer. */
export const execResponse = z.object({
  exit_code: z.number(),
  stdout: z.string(),
  stderr: z.string(),
  timed_out: z.boolean(),
  duration_ms: z.number(),
  signal: z.string().optional(),
  stdout_truncated: z.boolean(),
  stderr_truncated: z.boolean(),
})
export type ExecResponse = z.infer<typeof execResponse>
