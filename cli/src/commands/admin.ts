/** `portico admin`: accounts and keys, for the operator of a platform. */

import type { Command } from 'commander'
import type { Session } from '../session.ts'
import { addAccounts } from './admin-accounts.ts'
import { addKeys } from './admin-keys.ts'

export function addAdmin(program: Command, session: Session): void {
  const admin = program
    .command('admin')
    .usage('accounts|keys')
    .description('manage accounts and their keys, as the operator')
    .helpCommand(false)
  addAccounts(admin, session)
  addKeys(admin, session)
}
