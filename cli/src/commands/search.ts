/** `portico search ID PATTERN [PATH]`: lines that match, as `PATH:LINE:TEXT`. Where none does it ends with 1, as grep does. */

import type { Command } from 'commander'
import { count } from '../args/count.ts'
import { wrong } from '../exit-codes.ts'
import { format } from '../output/failure.ts'
import { plain } from '../output/plain.ts'
import { printable } from '../output/table.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly literal?: boolean
  readonly ignoreCase?: boolean
  readonly glob?: string
  readonly limit?: number
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .option('-F, --literal', 'PATTERN is plain text and no regular expression')
    .option('-i, --ignore-case', 'large and small letters are the same')
    .option('--glob <glob>', 'only files whose name matches, such as "*.py"')
    .option('--limit <n>', 'at most so many lines (default: 1000)', count)
    .option('--json', 'print one line of JSON')
    .action(async (id: string, pattern: string, path: string | undefined, { limit, json, ...how }: Options) => {
      await using portico = await session.connect()
      const { files } = await findSandbox(portico, id, session.signal)
      const options = { ...how, maxResults: limit, signal: session.signal }
      const { matches, truncated, filesSearched } = await files.search(path ?? '/', pattern, options)
      if (matches.length === 0) session.exitCode = wrong
      if (json) return await session.terminal.printJson({ matches: matches.map(plain), truncated, filesSearched })
      const lines = matches.map((match) => `${printable(match.path)}:${match.line}:${printable(match.text)}\n`)
      await session.terminal.print(lines.join(''))
      if (truncated)
        await session.terminal.complain(format('not all was searched', 'Give a PATH, a --glob or a greater --limit.'))
    })
}
