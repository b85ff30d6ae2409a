/** `portico set ID`: changes what people call a sandbox, its labels, and how long it may be idle. */

import type { Command } from 'commander'
import { wholeSeconds } from '../args/duration.ts'
import { type Labels, label } from '../args/marks.ts'
import { CommandError } from '../command-error.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  /** false takes it away. */
  readonly name?: string | false
  /** false takes all away. */
  readonly label?: Labels | false
  readonly idle?: number
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .option('--name <name>', 'what people call it')
    .option('--no-name', 'take its name away')
    .option('--label <name=value>', 'its labels, in place of the former; repeatable', label)
    .option('--no-label', 'take its labels away')
    .option('--idle <duration>', 'how long without activity is idle; 0 is never', wholeSeconds)
    .option('--json', 'print its record as one line of JSON')
    .action(async (id: string, { name, label: labels, idle, json }: Options) => {
      if (name === undefined && labels === undefined && idle === undefined)
        throw new CommandError('cannot change the sandbox: nothing is given', 'Give --name, --label or --idle.')
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      await sandbox.update({
        ...(name === undefined ? {} : { name: name === false ? null : name }),
        ...(labels === undefined ? {} : { labels: labels === false ? {} : labels }),
        ...(idle === undefined ? {} : { timeoutSec: idle }),
        signal: session.signal,
      })
      if (json) await session.terminal.printJson(sandbox)
      else await session.terminal.print(`${id}\n`)
    })
}
