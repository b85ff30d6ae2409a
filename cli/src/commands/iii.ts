/** `portico iii sandbox …`: what `portico-iii` has. */

import type { Command } from 'commander'
import { addSandboxCommands } from '../iii/sandbox.ts'
import type { Session } from '../session.ts'

export function define(command: Command, session: Session): void {
  addSandboxCommands(command.helpCommand(false), session)
}
