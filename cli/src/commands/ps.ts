/** `portico ps ID`: the processes that run by themselves in a sandbox. */

import type { ProcessInfo } from '@portico/sdk'
import type { Command } from 'commander'
import { table } from '../output/table.ts'
import { age } from '../output/time.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly json?: boolean
  readonly quiet?: boolean
}

const heading = ['PROCESS', 'PID', 'STATE', 'EXIT', 'OUTPUT', 'STARTED', 'COMMAND']

export function define(command: Command, session: Session): void {
  command
    .option('-q, --quiet', 'print ids alone')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, { json, quiet }: Options) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      const found = await sandbox.processes({ signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else if (quiet) await session.terminal.print(found.map((one) => `${one.id}\n`).join(''))
      else await session.terminal.print(table(heading, found.map(row)))
    })
}

function row({ id, pid, state, exit, outputEnd, startedAt, argv }: ProcessInfo): string[] {
  const code = exit === undefined ? '-' : String(exit.exitCode)
  return [id, String(pid), state, code, String(outputEnd), `${age(startedAt)} ago`, argv.join(' ')]
}
