/** `portico history`: the sandboxes that are over, newest first. */

import type { HistoryItem } from '@portico/sdk'
import type { Command } from 'commander'
import { count } from '../args/count.ts'
import { money } from '../output/money.ts'
import { table } from '../output/table.ts'
import { age, elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'

interface Options {
  readonly limit: number
  readonly json?: boolean
  readonly quiet?: boolean
}

const heading = ['ID', 'NAME', 'STATUS', 'IMAGE', 'CPUS', 'MEMORY', 'UPTIME', 'CPU', 'COST', 'ENDED']
const largestPage = 100

export function define(command: Command, session: Session): void {
  command
    .option('--limit <n>', 'how many at most', count, 50)
    .option('-q, --quiet', 'print ids alone')
    .option('--json', 'print one line of JSON')
    .action(async ({ limit, json, quiet }: Options) => {
      await using portico = await session.connect()
      const found: HistoryItem[] = []
      const pageSize = Math.min(limit, largestPage)
      for await (const item of portico.history({ pageSize, signal: session.signal })) {
        found.push(item)
        if (found.length === limit) break
      }
      if (json) await session.terminal.printJson(found)
      else if (quiet) await session.terminal.print(found.map(({ id }) => `${id}\n`).join(''))
      else await session.terminal.print(table(heading, found.map(row)))
    })
}

function row(item: HistoryItem): string[] {
  const { id, name, status, image, vcpus, memMiB, uptimeMs, cpuMs, costCents, destroyedAt } = item
  const shape = [id, name ?? '-', status, image, String(vcpus), `${memMiB} MiB`]
  return [...shape, elapsed(uptimeMs), elapsed(cpuMs), money(costCents), `${age(destroyedAt)} ago`]
}
