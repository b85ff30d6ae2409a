/** `portico console ID [CONSOLE]`: joins a console, or makes one where there is none; or lists, shares and deletes them. */

import type { ConsoleInfo, Sandbox } from '@portico/sdk'
import type { Command } from 'commander'
import { positiveDuration } from '../args/duration.ts'
import { CommandError } from '../command-error.ts'
import { joinConsole } from '../join-console.ts'
import { table } from '../output/table.ts'
import { age } from '../output/time.ts'
import { assertTerminal } from '../raw-mode.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly new?: boolean
  readonly name?: string
  readonly user?: string
  readonly cwd?: string
  readonly list?: boolean
  readonly link?: string
  readonly expires: number
  readonly delete?: boolean
  readonly json?: boolean
}

const heading = ['CONSOLE', 'NAME', 'STATE', 'SIZE', 'VIEWERS', 'AGE']

export function define(command: Command, session: Session): void {
  command
    .option('--new', 'make another one')
    .option('--name <name>', 'what people call a new one')
    .option('--cwd <dir>', 'working directory of a new one (default: /)')
    .option('--user <user>', 'as whom a new one runs (default: root)')
    .option('--list', 'list them')
    .option('--link <access>', 'print a link for people without a key: read or write')
    .option('--expires <duration>', 'how long the link is good', positiveDuration, 3600)
    .option('--delete', 'end it')
    .option('--json', 'print one line of JSON, and join nothing')
    .action(async (id: string, name: string | undefined, options: Options) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      await act(session, sandbox, name, options)
    })
}

async function act(session: Session, sandbox: Sandbox, name: string | undefined, options: Options): Promise<void> {
  const { json, link: access, expires } = options
  const { signal, terminal } = session
  if (options.list) {
    const found = await sandbox.consoles.list({ signal })
    return json ? await terminal.printJson(found) : await terminal.print(table(heading, found.map(row)))
  }
  if (options.delete) {
    if (name === undefined) throw new CommandError('cannot delete a console: none is named', 'Give its id behind ID.')
    await sandbox.consoles.delete(name, { signal })
    return json ? await terminal.printJson({ id: name }) : await terminal.print(`${name}\n`)
  }
  if (access !== undefined && access !== 'read' && access !== 'write')
    throw new CommandError(`cannot make a link to ${access}`, 'Links are --link read or --link write.')
  const joins = access === undefined && !json
  // Throws where there is no terminal, before anything is made.
  if (joins) assertTerminal(session)
  const found = await find(session, sandbox, name, options)
  if (access !== undefined) {
    const link = await sandbox.consoles.link(found.id, { access, expiresInSec: Math.ceil(expires), signal })
    return json ? await terminal.printJson(link) : await terminal.print(`${link.url}\n`)
  }
  if (json) return await terminal.printJson(found)
  await join(session, sandbox, found)
}

/** The one that is named, else the newest that runs, else a new one. */
async function find(
  session: Session,
  sandbox: Sandbox,
  id: string | undefined,
  { new: another, name, cwd, user }: Options,
): Promise<ConsoleInfo> {
  const { signal } = session
  if (id !== undefined) return await sandbox.consoles.get(id, { signal })
  const running = another ? [] : (await sandbox.consoles.list({ signal })).filter(({ state }) => state === 'running')
  return running.at(-1) ?? (await sandbox.consoles.create({ ...session.terminal.size, name, cwd, user, signal }))
}

async function join(session: Session, sandbox: Sandbox, { id }: ConsoleInfo): Promise<void> {
  await using view = await sandbox.consoles.attach(id)
  const { size } = session.terminal
  if (view.access === 'write' && size !== undefined) await view.resize(size.cols, size.rows)
  await joinConsole(session, view)
}

function row({ id, name, state, exitCode, cols, rows, viewers, createdAt }: ConsoleInfo): string[] {
  const status = exitCode === undefined ? state : `${state} (${exitCode})`
  return [id, name ?? '-', status, `${cols}x${rows}`, String(viewers), age(createdAt)]
}
