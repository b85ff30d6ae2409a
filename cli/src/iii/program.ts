/** The command line of `portico-iii`. */

import { Command } from 'commander'
import { addCommonOptions } from '../program.ts'
import { Session } from '../session.ts'
import { addSandboxCommands } from './sandbox.ts'

const examples = `
Examples:
  alias iii=portico-iii
  iii sandbox run python -- python3 -c 'print("hi")'
  SB=$(iii sandbox create python --idle-timeout 300)
  iii sandbox exec "$SB" --timeout 30s -- python3 -c 'print(2+2)'
  iii sandbox stop "$SB"
`

export function makeIii(): { program: Command; session: Session } {
  const program = new Command('portico-iii')
  const session = new Session(() => program.opts())
  addCommonOptions(program.description('The sandbox commands of iii, against Portico.'), examples)
  addSandboxCommands(program, session)
  return { program, session }
}
