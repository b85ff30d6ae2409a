/** `portico stop ID…` */

import type { Command } from 'commander'
import type { Session } from '../session.ts'
import { each } from './each.ts'
import { findSandbox } from './find-sandbox.ts'

export function define(command: Command, session: Session): void {
  const { signal } = session
  command
    .option('--json', 'print what each used, as one line of JSON')
    .action(async (ids: string[], { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      await each(session, ids, { doing: 'destroying', json }, async (id) => {
        const sandbox = await findSandbox(portico, id, signal)
        return { id, ...(await sandbox.destroy({ signal })) }
      })
    })
}
