/** `portico exec ID -- CMD…`: as if it ran here. `-t` puts it on our terminal, `--detach` lets it run on by itself. */

import type { GuestCommand, Sandbox } from '@portico/sdk'
import { NotFoundError } from '@portico/sdk/errors'
import type { Command } from 'commander'
import { addGuestOptions, execOptions, type GuestOptions, guestCommand, shellCommand } from '../args/guest-command.ts'
import { CommandError } from '../command-error.ts'
import { joinConsole } from '../join-console.ts'
import { format, lines } from '../output/failure.ts'
import { exitCodeOf } from '../output/result.ts'
import { assertTerminal } from '../raw-mode.ts'
import { followCommand, startCommand, surroundings } from '../run-command.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options extends GuestOptions {
  readonly tty?: boolean
  readonly detach?: boolean
}

export function define(exec: Command, session: Session): void {
  addGuestOptions(exec)
    .option('-t, --tty', 'on this terminal; Ctrl-] leaves it running, as a console')
    .option('-d, --detach', 'let it run on by itself, and print its id')
    .action(async (id: string, words: string[], options: Options) => {
      const command = guestCommand(words, options)
      const isUsual = exec.getOptionValueSource('timeout') === 'default'
      check(options, isUsual)
      const input = options.json ? await execOptions(options, session.signal) : undefined
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      if (options.tty) await onTerminal(session, sandbox, shellCommand(words, options), options)
      else if (options.detach) await detached(session, sandbox, command, options, isUsual ? undefined : options.timeout)
      else if (input !== undefined) {
        const result = await sandbox.exec(command, input)
        session.exitCode = exitCodeOf(result)
        await session.terminal.printJson(result)
      } else await followed(session, sandbox, command, options)
    })
}

function check({ tty, detach, json, interactive, entrypoint }: Options, isUsual: boolean): void {
  if (tty && entrypoint)
    throw new CommandError('cannot run the entrypoint on a terminal', 'Leave out -t or --entrypoint.')
  if (tty && detach) throw new CommandError('cannot run the command both on a terminal and by itself')
  if (tty && json) throw new CommandError('cannot print a terminal as JSON', 'Leave out -t or --json.')
  if (detach && interactive)
    throw new CommandError('cannot pass standard input to a command that runs by itself', 'Use `portico attach -i`.')
  if (tty && !isUsual)
    throw new CommandError('cannot limit the time of a command on a terminal', 'Leave out -t or --timeout.')
}

async function followed(session: Session, sandbox: Sandbox, command: GuestCommand, options: Options): Promise<void> {
  const guest = await startCommand(session, sandbox, command, options)
  try {
    await followCommand(session, guest, options)
  } finally {
    await end(session, () => guest.delete())
  }
}

async function detached(
  session: Session,
  sandbox: Sandbox,
  command: GuestCommand,
  options: Options,
  timeoutSec: number | undefined,
): Promise<void> {
  // It is to outlive us: with its input open, whoever attaches may write to it.
  const guest = await sandbox.spawn(command, { ...surroundings(options), timeoutSec, stdinOpen: true })
  if (options.json) await session.terminal.printJson(await guest.info({ signal: session.signal }))
  else await session.terminal.print(`${guest.id}\n`)
}

/** A console of its own, which goes with the command; only who leaves it with Ctrl-] keeps it. */
async function onTerminal(
  session: Session,
  sandbox: Sandbox,
  command: string | readonly string[],
  options: Options,
): Promise<void> {
  // Throws where there is no terminal, before anything is started.
  assertTerminal(session)
  const { signal, terminal } = session
  // Not ended by an interrupt, which would leave a console that nobody knows.
  const { id } = await sandbox.consoles.create({ ...surroundings(options), ...terminal.size, command })
  let how: 'ended' | 'left' | undefined
  try {
    await using view = await sandbox.consoles.attach(id, { signal })
    how = await joinConsole(session, view)
  } finally {
    if (how !== 'left') await end(session, () => sandbox.consoles.delete(id))
  }
  if (how === 'left')
    await terminal.complain(format(`left console ${id}`, `portico console ${sandbox.id} ${id} joins it again`))
}

/** Has it ended, if it runs still, and forgotten. A failure changes nothing of how the command ended. */
async function end(session: Session, deleted: () => Promise<void>): Promise<void> {
  try {
    await deleted()
  } catch (error) {
    if (!(error instanceof NotFoundError)) await session.terminal.complain(lines(error, session.local))
  }
}
