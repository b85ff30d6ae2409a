/** `portico watch ID PATH`: what happens to files of a sandbox, a line for each change, until Ctrl-C. */

import type { FileChange } from '@portico/sdk'
import type { Command } from 'commander'
import { plain } from '../output/plain.ts'
import { printable } from '../output/table.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly recursive?: boolean
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .option('-r, --recursive', 'and below the directory')
    .option('--json', 'print a line of JSON for each change, `ready` first')
    .action(async (id: string, path: string, { recursive, json }: Options) => {
      await using portico = await session.connect()
      const { files } = await findSandbox(portico, id, session.signal)
      for await (const change of files.watch(path, { recursive, signal: session.signal })) {
        if (json) await session.terminal.printJson(plain(change))
        else await session.terminal.print(line(change))
      }
      session.signal.throwIfAborted()
    })
}

function line(change: FileChange): string {
  switch (change.type) {
    case 'ready':
      return ''
    case 'overflow':
      return 'overflow\n'
    case 'move':
      return `move ${printable(change.path)} -> ${printable(change.to)}\n`
    default:
      return `${change.type} ${printable(change.path)}\n`
  }
}
