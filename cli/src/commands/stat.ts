/** `portico stat ID PATH`: what is known of a file of a sandbox. */

import type { Command } from 'commander'
import { fieldText, plain } from '../output/plain.ts'
import { table } from '../output/table.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

export function define(command: Command, session: Session): void {
  command
    .option('--json', 'print one line of JSON')
    .action(async (id: string, path: string, { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      const { files } = await findSandbox(portico, id, session.signal)
      const known = plain(await files.stat(path, { signal: session.signal }))
      if (json) return await session.terminal.printJson(known)
      const fields = Object.entries(known).filter(([, value]) => value !== undefined)
      await session.terminal.print(
        table(
          ['FIELD', 'VALUE'],
          fields.map(([name, value]) => [name, fieldText(value)]),
        ),
      )
    })
}
