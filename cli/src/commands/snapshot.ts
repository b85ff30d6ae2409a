/** `portico snapshot ID`: on standard output nothing but the id of the snapshot. */

import type { Command } from 'commander'
import { elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

export function define(command: Command, session: Session): void {
  command
    .option('--json', 'print its record as one line of JSON')
    .action(async (id: string, { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      const begin = performance.now()
      await session.progress.begin(`taking a snapshot of ${id}`)
      const snapshot = await sandbox.snapshot({ signal: session.signal })
      await session.progress.done(`snapshot taken in ${elapsed(performance.now() - begin)}`)
      if (json) await session.terminal.printJson(snapshot)
      else await session.terminal.print(`${snapshot.id}\n`)
    })
}
