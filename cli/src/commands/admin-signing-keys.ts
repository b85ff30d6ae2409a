/** `portico admin signing-keys list|rotate`: what the tokens of sandboxes' own hosts are signed with. */

import type { SigningKey } from '@portico/sdk/admin'
import type { Command } from 'commander'
import { table } from '../output/table.ts'
import { age } from '../output/time.ts'
import type { Session } from '../session.ts'

const heading = ['ID', 'STATUS', 'AGE', 'RETIRED', 'LAST TOKEN ENDS']

export function addSigningKeys(admin: Command, session: Session): void {
  const keys = admin
    .command('signing-keys')
    .usage('[list|rotate]')
    .description('keys that tokens of sandboxes are signed with')
    .helpCommand(false)
  keys
    .command('list', { isDefault: true })
    .alias('ls')
    .usage('[options]')
    .description('list the keys that are published, newest first')
    .option('--json', 'print one line of JSON')
    .action(async ({ json }: { json?: boolean }) => {
      using admin = await session.connectAdmin()
      await show(session, await admin.signingKeys.list({ signal: session.signal }), json)
    })
  keys
    .command('rotate')
    .usage('[options]')
    .description('sign with a new key; tokens of the former are good until they end')
    .option('--json', 'print one line of JSON')
    .action(async ({ json }: { json?: boolean }) => {
      using admin = await session.connectAdmin()
      await show(session, await admin.signingKeys.rotate({ signal: session.signal }), json)
    })
}

async function show(session: Session, keys: readonly SigningKey[], json: boolean | undefined): Promise<void> {
  if (json) await session.terminal.printJson(keys)
  else await session.terminal.print(table(heading, keys.map(row)))
}

function row({ id, status, createdAt, retiredAt, lastTokenEndsAt }: SigningKey): string[] {
  const retired = retiredAt === null ? '-' : `${age(retiredAt)} ago`
  return [id, status, age(createdAt), retired, lastTokenEndsAt?.toISOString() ?? '-']
}
