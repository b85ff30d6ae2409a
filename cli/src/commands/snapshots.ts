/** `portico snapshots [list]` and `portico snapshots rm SNAPSHOT…` */

import type { SnapshotInfo } from '@portico/sdk'
import type { Command } from 'commander'
import { size } from '../output/size.ts'
import { table } from '../output/table.ts'
import { age } from '../output/time.ts'
import type { Session } from '../session.ts'
import { each } from './each.ts'

interface ListOptions {
  readonly json?: boolean
  readonly quiet?: boolean
}

const heading = ['ID', 'SANDBOX', 'SIZE', 'AGE']

export function define(command: Command, session: Session): void {
  const snapshots = command.helpCommand(false)
  snapshots
    .command('list', { isDefault: true })
    .usage('[options]')
    .alias('ls')
    .description('list the snapshots')
    .option('-q, --quiet', 'print ids alone')
    .option('--json', 'print one line of JSON')
    .action(async ({ json, quiet }: ListOptions) => {
      await using portico = await session.connect()
      const found = await portico.snapshots({ signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else if (quiet) await session.terminal.print(found.map(({ id }) => `${id}\n`).join(''))
      else await session.terminal.print(table(heading, found.map(row)))
    })
  snapshots
    .command('rm <snapshot...>')
    .usage('[options] SNAPSHOT…')
    .description('delete snapshots')
    .option('--json', 'print one line of JSON')
    .action(async (ids: string[], { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      await each(session, ids, { doing: 'deleting', json }, async (id) => {
        await portico.deleteSnapshot(id, { signal: session.signal })
        return { id }
      })
    })
}

function row({ id, sandboxId, sizeBytes, createdAt }: SnapshotInfo): string[] {
  return [id, sandboxId, size(sizeBytes), age(createdAt)]
}
