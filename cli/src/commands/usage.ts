/** `portico usage`: what the account has used and what that costs. */

import type { Command } from 'commander'
import { money } from '../output/money.ts'
import { table } from '../output/table.ts'
import { elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'

export function define(command: Command, session: Session): void {
  command.option('--json', 'print one line of JSON').action(async ({ json }: { json?: boolean }) => {
    await using portico = await session.connect()
    const used = await portico.usage({ signal: session.signal })
    if (json) return await session.terminal.printJson(used)
    const rows = [
      ['active', String(used.activeSandboxes), money(used.activeCostCents)],
      ['over', String(used.historySandboxes), money(used.historyCostCents)],
      ['total', String(used.activeSandboxes + used.historySandboxes), money(used.totalCostCents)],
    ]
    const times = `CPU ${elapsed(used.cpuSeconds * 1000)}, memory ${(used.memGibSeconds / 3600).toFixed(2)} GiB-hours\n`
    await session.terminal.print(`${table(['', 'SANDBOXES', 'COST'], rows)}${times}`)
  })
}
