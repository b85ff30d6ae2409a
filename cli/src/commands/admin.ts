/** `portico admin`: accounts, their keys and the platform's signing keys, for the operator of a platform. */

import type { Command } from 'commander'
import type { Session } from '../session.ts'
import { addAccounts } from './admin-accounts.ts'
import { addKeys } from './admin-keys.ts'
import { addSigningKeys } from './admin-signing-keys.ts'

export function define(command: Command, session: Session): void {
  const admin = command.helpCommand(false)
  addAccounts(admin, session)
  addKeys(admin, session)
  addSigningKeys(admin, session)
}
