/** `portico admin accounts [list]`, `create NAME`, `show ACCOUNT` and `limits ACCOUNT`. */

import type { Account, AccountDetails, AccountLimits } from '@portico/sdk/admin'
import type { Command } from 'commander'
import { type Limit, limit, sizeLimit } from '../args/limit.ts'
import { CommandError } from '../command-error.ts'
import { table } from '../output/table.ts'
import { age } from '../output/time.ts'
import type { Session } from '../session.ts'

interface ListOptions {
  readonly json?: boolean
  readonly quiet?: boolean
}

interface LimitOptions {
  readonly sandboxes?: Limit
  readonly cpus?: Limit
  readonly memory?: Limit
  readonly snapshots?: Limit
  readonly requests?: Limit
  readonly json?: boolean
}

export function addAccounts(admin: Command, session: Session): void {
  const accounts = admin
    .command('accounts')
    .usage('[list|create|show|limits]')
    .description('accounts, and what each may have at once')
    .helpCommand(false)
  addList(accounts, session)
  addCreate(accounts, session)
  addShow(accounts, session)
  addLimits(accounts, session)
}

function addList(accounts: Command, session: Session): void {
  accounts
    .command('list', { isDefault: true })
    .usage('[options]')
    .alias('ls')
    .description('list the accounts')
    .option('-q, --quiet', 'print ids alone')
    .option('--json', 'print one line of JSON')
    .action(async ({ json, quiet }: ListOptions) => {
      using admin = await session.connectAdmin()
      const found = await admin.accounts.list({ signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else if (quiet) await session.terminal.print(found.map(({ id }) => `${id}\n`).join(''))
      else await session.terminal.print(table(['ID', 'NAME', 'AGE'], found.map(row)))
    })
}

function addCreate(accounts: Command, session: Session): void {
  accounts
    .command('create <name>')
    .usage('[options] NAME')
    .description('create an account and print its id')
    .option('--json', 'print its record as one line of JSON')
    .action(async (name: string, { json }: { json?: boolean }) => {
      using admin = await session.connectAdmin()
      const account = await admin.accounts.create(name, { signal: session.signal })
      if (json) await session.terminal.printJson(account)
      else await session.terminal.print(`${account.id}\n`)
    })
}

function addShow(accounts: Command, session: Session): void {
  accounts
    .command('show <account>')
    .usage('[options] ACCOUNT')
    .description('print limits, and what of them is taken')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, { json }: { json?: boolean }) => {
      using admin = await session.connectAdmin()
      const account = await admin.accounts.get(id, { signal: session.signal })
      if (json) await session.terminal.printJson(account)
      else await session.terminal.print(shown(account))
    })
}

function addLimits(accounts: Command, session: Session): void {
  accounts
    .command('limits <account>')
    .usage('[options] ACCOUNT')
    .description('set limits: a number, or none; those not given stay')
    .option('--sandboxes <n>', 'sandboxes that are not hibernated', limit)
    .option('--cpus <n>', 'virtual CPUs of these together', limit)
    .option('--memory <size>', 'memory of these together, such as 64G', sizeLimit)
    .option('--snapshots <n>', 'snapshots', limit)
    .option('--requests <n>', 'requests per second', limit)
    .option('--json', 'print one line of JSON')
    .action(async (id: string, { json, ...asked }: LimitOptions) => {
      if (Object.keys(asked).length === 0)
        throw new CommandError(
          'cannot set limits: none is given',
          '`portico admin accounts limits --help` says which there are.',
        )
      using admin = await session.connectAdmin()
      const limits = await admin.accounts.setLimits(id, given(asked), { signal: session.signal })
      if (json) await session.terminal.printJson(limits)
      else await session.terminal.print(table(['LIMIT', 'VALUE'], rows(limits)))
    })
}

function given({ sandboxes, cpus, memory, snapshots, requests }: LimitOptions): Partial<AccountLimits> {
  const named = { sandboxes, vcpus: cpus, memMiB: memory, snapshots, requestsPerSecond: requests }
  const said = Object.entries(named).filter(([, value]) => value !== undefined)
  return Object.fromEntries(said.map(([name, value]) => [name, value === 'none' ? null : value]))
}

function row({ id, name, createdAt }: Account): string[] {
  return [id, name, age(createdAt)]
}

/** Limits as they are called on the command line. */
function rows({ sandboxes, vcpus, memMiB, snapshots, requestsPerSecond }: AccountLimits): [string, string][] {
  return [
    ['sandboxes', text(sandboxes)],
    ['cpus', text(vcpus)],
    ['memory', memMiB === null ? 'none' : `${memMiB} MiB`],
    ['snapshots', text(snapshots)],
    ['requests', requestsPerSecond === null ? 'none' : `${requestsPerSecond}/s`],
  ]
}

function shown({ id, name, createdAt, limits, inUse }: AccountDetails): string {
  const used = [inUse.sandboxes, inUse.vcpus, `${inUse.memMiB} MiB`, inUse.snapshots, '-'].map(String)
  const lines = rows(limits).map(([what, value], index) => [what, used[index] ?? '-', value])
  return `${table(['ID', 'NAME', 'AGE'], [[id, name, age(createdAt)]])}\n${table(['', 'USED', 'LIMIT'], lines)}`
}

function text(value: number | null): string {
  return value === null ? 'none' : String(value)
}
