/** The shell of a sandbox on a terminal, joined to ours. */

import type { Sandbox, TerminalOptions } from '@portico/sdk'
import { joinTerminal } from './join-terminal.ts'
import { assertTerminal } from './raw-mode.ts'
import type { Session } from './session.ts'

/** How long it lives on when our connection is gone for good, in seconds. */
const lingerSec = 60

/** Runs it to its end, or until we leave; its exit code is ours. */
export async function runOnTerminal(
  session: Session,
  sandbox: Sandbox,
  options: Pick<TerminalOptions, 'cwd' | 'user'>,
): Promise<void> {
  // Throws where there is no terminal, before anything is started.
  assertTerminal(session)
  const { size } = session.terminal
  await using terminal = await sandbox.terminal({ ...options, ...size, lingerSec })
  let left = false
  await joinTerminal(session, {
    output: terminal,
    write: (input) => terminal.write(input),
    resize: (cols, rows) => terminal.resize(cols, rows),
    leave() {
      left = true
      terminal.detach()
    },
  })
  if (!left) session.exitCode = (await terminal.wait()).exitCode
}
