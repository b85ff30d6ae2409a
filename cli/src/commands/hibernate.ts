/** `portico hibernate ID…` and `portico resume ID…`: to sleep and back. */

import type { Command } from 'commander'
import type { Session } from '../session.ts'
import { each } from './each.ts'
import { findSandbox } from './find-sandbox.ts'

const doing = { hibernate: 'hibernating', resume: 'resuming' } as const

/** Either of the two, by its name. */
export function define(command: Command, session: Session): void {
  const { signal } = session
  const verb = command.name() as keyof typeof doing
  command
    .option('--json', 'print their records as one line of JSON')
    .action(async (ids: string[], { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      await each(session, ids, { doing: doing[verb], json }, async (id) => {
        const sandbox = await findSandbox(portico, id, signal)
        await sandbox[verb]({ signal })
        return sandbox
      })
    })
}
