/** `portico ports ID [PORT]`: what listens in a sandbox, and who may use it. */

import type { PortAccess, PortHost, PortInfo } from '@portico/sdk'
import { type Command, Option } from 'commander'
import { port } from '../args/port.ts'
import { CommandError } from '../command-error.ts'
import { table } from '../output/table.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly access?: PortAccess
  readonly host?: PortHost
  readonly json?: boolean
}

const heading = ['PORT', 'ACCESS', 'LISTENS', 'COMMAND', 'URL']

export function define(command: Command, session: Session): void {
  command
    .argument('[port]', '', port)
    .addOption(new Option('--access <who>', 'whoever has its URL, a key, or a link').choices(['url', 'key', 'signed']))
    .addOption(new Option('--host <host>', 'the Host that the server gets').choices(['public', 'localhost']))
    .option('--json', 'print one line of JSON')
    .action(async (id: string, number: number | undefined, { access, host, json }: Options) => {
      const changes = access !== undefined || host !== undefined
      if (changes && number === undefined)
        throw new CommandError('cannot set a port: none is named', 'Give it behind ID.')
      await using portico = await session.connect()
      const { ports } = await findSandbox(portico, id, session.signal)
      const { signal } = session
      if (number === undefined) return await show(session, await ports.list({ signal }), json)
      const one = changes ? await ports.set(number, { access, host, signal }) : await ports.get(number, { signal })
      if (json) await session.terminal.printJson(one)
      else await show(session, [one], false)
    })
}

async function show(session: Session, found: readonly PortInfo[], json: boolean | undefined): Promise<void> {
  if (json) await session.terminal.printJson(found)
  else await session.terminal.print(table(heading, found.map(row)))
}

function row({ port: number, access, listening, address, command, url, proxyUrl }: PortInfo): string[] {
  const listens = listening === undefined ? '-' : listening ? (address ?? 'yes') : 'no'
  return [String(number), access, listens, command ?? '-', url ?? proxyUrl]
}
