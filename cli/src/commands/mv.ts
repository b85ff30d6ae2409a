/** `portico mv ID SOURCE DESTINATION`: inside of a sandbox. */

import type { Command } from 'commander'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

export function define(command: Command, session: Session): void {
  command
    .option('--no-clobber', 'fail if there is a file at the destination')
    .action(async (id: string, source: string, destination: string, { clobber }: { clobber: boolean }) => {
      await using portico = await session.connect()
      const { files } = await findSandbox(portico, id, session.signal)
      await files.move(source, destination, { overwrite: clobber, signal: session.signal })
    })
}
