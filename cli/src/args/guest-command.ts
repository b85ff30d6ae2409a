/** The command that runs in a sandbox, and its options. Words after `--` are a program and its arguments; no shell reads them. */

import type { ExecOptions, GuestCommand } from '@portico/sdk'
import { type Command, Option } from 'commander'
import { CommandError } from '../command-error.ts'
import { positiveDuration } from './duration.ts'
import { type Variables, variable } from './environment.ts'
import { readInput } from './input.ts'

export interface GuestOptions {
  readonly shell?: string
  readonly entrypoint?: boolean
  readonly env?: Variables
  readonly cwd?: string
  readonly user?: string
  readonly timeout: number
  readonly interactive?: boolean
  readonly json?: boolean
}

export function addGuestOptions(command: Command): Command {
  return command
    .option('--shell <line>', 'a line for the shell, instead of CMD')
    .option('--entrypoint', 'what the image runs by itself; CMD are its arguments in place of its own')
    .option('-e, --env <name=value>', 'a variable for the command; repeatable', variable)
    .option('--cwd <dir>', 'working directory (default: /)')
    .option('--user <user>', 'as whom, a name or number (default: root)')
    .addOption(
      new Option('--timeout <duration>', 'end the command after so long')
        .argParser(positiveDuration)
        .default(300, '5m'),
    )
    .option('-i, --interactive', 'pass standard input on as it comes; with --json, as text, once it has ended')
    .option('--json', 'print one line of JSON')
}

const example = 'Put it after --, such as: -- python3 -c "print(1)"'

/** The command as the SDK takes it. */
export function guestCommand(words: readonly string[], options: GuestOptions): GuestCommand {
  const { shell, entrypoint } = options
  if (!entrypoint) return shellCommand(words, options)
  if (shell !== undefined) throw new CommandError('cannot run both --shell and --entrypoint', example)
  return { entrypoint, args: words.length === 0 ? undefined : words }
}

/** The same, where the image's own command is none of it. */
export function shellCommand(words: readonly string[], { shell }: GuestOptions): string | readonly string[] {
  if (shell !== undefined && words.length > 0) throw new CommandError('cannot run both --shell and CMD', example)
  if (shell === '') throw new CommandError('cannot run an empty --shell line', example)
  if (shell === undefined && words.length === 0) throw new CommandError('cannot run: no command is given', example)
  return shell ?? words
}

/** The options as the SDK takes them; reads standard input if it is to be passed. */
export async function execOptions(options: GuestOptions, signal: AbortSignal): Promise<ExecOptions> {
  const { env, cwd, user, timeout } = options
  const stdin = options.interactive ? await readInput(process.stdin, signal) : undefined
  return { env, cwd, user, timeoutSec: timeout, stdin, signal }
}
