/** `portico exec ID -- CMD…`: as if it ran here. `-t` puts it on our terminal, `--detach` lets it run on by itself. */

import { NotFoundError, type Process, type Sandbox, type SpawnOptions } from '@portico/sdk'
import type { Command } from 'commander'
import { addGuestOptions, execOptions, type GuestOptions, guestCommand } from '../args/guest-command.ts'
import { shellLine } from '../args/shell-words.ts'
import { CommandError } from '../command-error.ts'
import { exitCodeFor, followProcess } from '../follow-process.ts'
import { lines } from '../output/failure.ts'
import { endedLate, exitCodeOf } from '../output/result.ts'
import type { Session } from '../session.ts'
import { runOnTerminal } from '../terminal-session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options extends GuestOptions {
  readonly tty?: boolean
  readonly detach?: boolean
}

/** What a command may print before we have begun to read, in the sandbox's memory. */
const bufferBytes = 16 * 2 ** 20

export function addExec(program: Command, session: Session): void {
  const exec = program.command('exec <id> [cmd...]')
  addGuestOptions(exec, 'pass standard input on as it comes')
    .usage('[options] ID -- CMD…')
    .description('run a command in a sandbox')
    .option('-t, --tty', 'on this terminal; Ctrl-] leaves it')
    .option('-d, --detach', 'let it run on by itself, and print its id')
    .action(async (id: string, words: string[], options: Options) => {
      const command = guestCommand(words, options)
      check(options)
      const input = options.json ? await execOptions(options, session.signal) : undefined
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      const isUsual = exec.getOptionValueSource('timeout') === 'default'
      if (options.tty) await onTerminal(session, sandbox, command, options)
      else if (options.detach) await detached(session, sandbox, command, options, isUsual)
      else if (input !== undefined) {
        const result = await sandbox.exec(command, input)
        session.exitCode = exitCodeOf(result)
        await session.terminal.printJson(result)
      } else await followed(session, sandbox, command, options)
    })
}

function check({ tty, detach, json, interactive, env }: Options): void {
  if (tty && detach) throw new CommandError('cannot run the command both on a terminal and by itself')
  if (tty && json) throw new CommandError('cannot print a terminal as JSON', 'Leave out -t or --json.')
  if (detach && interactive)
    throw new CommandError('cannot pass standard input to a command that runs by itself', 'Use `portico attach -i`.')
  if (tty && env !== undefined && Object.keys(env).length > 100)
    throw new CommandError('cannot set so many variables on a terminal')
}

async function followed(
  session: Session,
  sandbox: Sandbox,
  command: string | readonly string[],
  options: Options,
): Promise<void> {
  const guest = await sandbox.spawn(command, {
    ...spawnOptions(options),
    timeoutSec: options.timeout,
    stdinOpen: options.interactive,
    bufferBytes,
    signal: session.signal,
  })
  try {
    const exit = await followProcess(session, guest, { input: options.interactive === true })
    session.exitCode = exitCodeFor(exit)
    if (exit.timedOut) await session.terminal.complain(endedLate(options.timeout))
  } finally {
    await end(session, guest)
  }
}

async function detached(
  session: Session,
  sandbox: Sandbox,
  command: string | readonly string[],
  options: Options,
  isUsual: boolean,
): Promise<void> {
  const timeoutSec = isUsual ? undefined : options.timeout
  // It is to outlive us: with its input open, whoever attaches may write to it.
  const guest = await sandbox.spawn(command, { ...spawnOptions(options), timeoutSec, stdinOpen: true })
  if (options.json) await session.terminal.printJson(await guest.info({ signal: session.signal }))
  else await session.terminal.print(`${guest.id}\n`)
}

async function onTerminal(
  session: Session,
  sandbox: Sandbox,
  command: string | readonly string[],
  { env = {}, cwd, user }: Options,
): Promise<void> {
  const line = typeof command === 'string' ? command : `exec ${shellLine(command)}`
  const exports = Object.entries(env).map(([name, value]) => `export ${name}=${shellLine([value])}; `)
  await runOnTerminal(session, sandbox, { command: exports.join('') + line, cwd, user })
}

function spawnOptions({ env, cwd, user }: Options): Pick<SpawnOptions, 'env' | 'cwd' | 'user'> {
  return { env, cwd, user }
}

/** Ends it, if it runs still, and has it forgotten. A failure changes nothing of how the command ended. */
async function end(session: Session, guest: Process): Promise<void> {
  try {
    await guest.delete()
  } catch (error) {
    if (!(error instanceof NotFoundError)) await session.terminal.complain(lines(error, session.local))
  }
}
