/** `portico ls ID PATH`: what is in a directory of a sandbox, and below it. The sandboxes themselves are listed by `portico list`. */

import type { FileEntry } from '@portico/sdk'
import type { Command } from 'commander'
import { count } from '../args/count.ts'
import { format } from '../output/failure.ts'
import { plain } from '../output/plain.ts'
import { printable, table } from '../output/table.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly depth?: number
  readonly limit: number
  readonly long?: boolean
  readonly json?: boolean
}

const heading = ['MODE', 'SIZE', 'CHANGED', 'NAME']

export function define(command: Command, session: Session): void {
  command
    .option('--depth <n>', 'so many levels (default: 1)', count)
    .option('--limit <n>', 'at most so many entries', count, 10_000)
    .option('-l, --long', 'with modes, sizes and times')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, path: string, { depth = 1, limit, long, json }: Options) => {
      await using portico = await session.connect()
      const { files } = await findSandbox(portico, id, session.signal)
      const { entries, truncated } = await files.tree(path, { depth, limit, signal: session.signal })
      if (json) await session.terminal.printJson({ entries: entries.map(plain), truncated })
      else if (long) await session.terminal.print(table(heading, entries.map(row)))
      else await session.terminal.print(entries.map(({ name }) => `${printable(name)}\n`).join(''))
      if (!json && entries.length >= limit && truncated)
        await session.terminal.complain(format('there are more entries', 'Give a greater --limit.'))
    })
}

function row({ name, type, size, mode, modifiedAt }: FileEntry): string[] {
  const kind = { file: '-', directory: 'd', symlink: 'l', other: '?' }[type]
  return [`${kind} ${mode}`, String(size), modifiedAt.toISOString().slice(0, 16).replace('T', ' '), name]
}
