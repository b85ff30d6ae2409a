/** `portico up`: sets up what is missing and runs the platform on this machine, as `npm run up` does. Arguments go to it as they are. */

import { join } from 'node:path'
import type { Command } from 'commander'
import { runPart, sourceArgs } from '../part.ts'
import { checkout, type Session } from '../session.ts'

export function define(command: Command, session: Session): void {
  command
    .allowUnknownOption()
    .helpOption(false)
    .action(async (args: string[]) => {
      session.exitCode = await up(session, checkout, args)
    })
}

/** Set-up, then the platform, from the checkout at `root`. Resolves with the exit code of the one that ended it. */
export async function up(session: Session, root: string, args: readonly string[]): Promise<number> {
  const what = 'the local platform'
  const platform = sourceArgs(what, join(root, 'deploy', 'local', 'up.ts'), args)
  const asksHelp = args.includes('--help') || args.includes('-h')
  const setup = [join(root, 'deploy', 'setup', 'setup.sh')]
  const ready = asksHelp ? 0 : await runPart(session.interrupt, 'the set-up', 'bash', setup)
  return ready === 0 ? await runPart(session.interrupt, what, process.execPath, platform) : ready
}
