/** `portico admin keys create|list|revoke ACCOUNT …` */

import type { KeyInfo, KeyScope } from '@portico/sdk/admin'
import { type Command, Option } from 'commander'
import { positiveDuration } from '../args/duration.ts'
import { table } from '../output/table.ts'
import { age, elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'
import { each } from './each.ts'

interface CreateOptions {
  readonly region: string
  readonly name?: string
  readonly scope?: KeyScope
  readonly expires?: number
  readonly json?: boolean
}

const heading = ['ID', 'NAME', 'REGION', 'SCOPE', 'AGE', 'USED', 'STATE']

export function addKeys(admin: Command, session: Session): void {
  const keys = admin
    .command('keys')
    .usage('list|create|revoke ACCOUNT')
    .description('API keys of an account')
    .helpCommand(false)
  addCreate(keys, session)
  addList(keys, session)
  addRevoke(keys, session)
}

function addCreate(keys: Command, session: Session): void {
  keys
    .command('create <account>')
    .usage('[options] ACCOUNT')
    .description('create a key and print it, this once')
    .requiredOption('--region <region>', 'where what it makes is made')
    .option('--name <name>', 'what people call it')
    .addOption(new Option('--scope <scope>', 'what it may do').choices(['full', 'read-only', 'exec-only']))
    .option('--expires <duration>', 'how long it is good for, such as 30d', positiveDuration)
    .option('--json', 'print key and record as one line of JSON')
    .action(async (account: string, { region, name, scope, expires, json }: CreateOptions) => {
      using admin = await session.connectAdmin()
      const expiresInSec = expires === undefined ? undefined : Math.ceil(expires)
      const made = await admin.keys.create(account, { region, name, scope, expiresInSec, signal: session.signal })
      if (json) await session.terminal.printJson(made)
      else await session.terminal.print(`${made.key}\n`)
    })
}

function addList(keys: Command, session: Session): void {
  keys
    .command('list <account>')
    .alias('ls')
    .usage('[options] ACCOUNT')
    .description('list the keys, without what they open with')
    .option('-q, --quiet', 'print ids alone')
    .option('--json', 'print one line of JSON')
    .action(async (account: string, { json, quiet }: { json?: boolean; quiet?: boolean }) => {
      using admin = await session.connectAdmin()
      const found = await admin.keys.list(account, { signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else if (quiet) await session.terminal.print(found.map(({ id }) => `${id}\n`).join(''))
      else await session.terminal.print(table(heading, found.map(row)))
    })
}

function addRevoke(keys: Command, session: Session): void {
  keys
    .command('revoke <account> <key...>')
    .usage('[options] ACCOUNT KEY…')
    .description('end keys, by their ids')
    .option('--json', 'print their records as one line of JSON')
    .action(async (account: string, ids: string[], { json }: { json?: boolean }) => {
      using admin = await session.connectAdmin()
      const { signal } = session
      await each(
        session,
        ids,
        { doing: 'revoking', json },
        async (id) => await admin.keys.revoke(account, id, { signal }),
      )
    })
}

function row({ id, name, region, scope, createdAt, lastUsedAt, ...key }: KeyInfo): string[] {
  const used = lastUsedAt === null ? 'never' : `${age(lastUsedAt)} ago`
  return [id, name, region, scope, age(createdAt), used, state(key)]
}

function state({ revokedAt, expiresAt }: Pick<KeyInfo, 'revokedAt' | 'expiresAt'>): string {
  if (revokedAt !== null) return 'revoked'
  if (expiresAt === null) return 'good'
  const leftMs = expiresAt.getTime() - Date.now()
  return leftMs <= 0 ? 'expired' : `good for ${elapsed(leftMs)}`
}
