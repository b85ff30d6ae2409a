/** `portico list` */

import type { Sandbox } from '@portico/sdk'
import type { Command } from 'commander'
import { table } from '../output/table.ts'
import { elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'

interface Options {
  readonly json?: boolean
  readonly quiet?: boolean
}

const heading = ['ID', 'STATUS', 'IMAGE', 'CPUS', 'MEMORY', 'AGE']

export function addList(program: Command, session: Session): void {
  program
    .command('list')
    .usage('[options]')
    .alias('ls')
    .description('list the sandboxes')
    .option('-q, --quiet', 'print ids alone')
    .option('--json', 'print one line of JSON')
    .action(async ({ json, quiet }: Options) => {
      await using portico = await session.connect()
      const sandboxes = await portico.list({ signal: session.signal })
      if (json) await session.terminal.printJson(sandboxes)
      else if (quiet) await session.terminal.print(sandboxes.map(({ id }) => `${id}\n`).join(''))
      else await session.terminal.print(table(heading, sandboxes.map(row)))
    })
}

function row({ id, status, image, vcpus, memMiB, createdAt }: Sandbox): string[] {
  const age = elapsed(Math.max(1000, Math.floor((Date.now() - createdAt.getTime()) / 1000) * 1000))
  return [id, status, image, String(vcpus), `${memMiB} MiB`, age]
}
