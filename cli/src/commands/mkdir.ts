/** `portico mkdir ID PATH…`: directories of a sandbox. */

import type { Command } from 'commander'
import { mode } from '../args/mode.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly parents?: boolean
  readonly mode?: number
}

export function define(command: Command, session: Session): void {
  command
    .option('-p, --parents', 'those above, too; one that is there already is fine')
    .option('-m, --mode <mode>', 'permission bits, such as 750', mode)
    .action(async (id: string, paths: string[], options: Options) => {
      await using portico = await session.connect()
      const { files } = await findSandbox(portico, id, session.signal)
      for (const path of paths) await files.mkdir(path, { ...options, signal: session.signal })
    })
}
