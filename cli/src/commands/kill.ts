/** `portico kill ID PROCESS…`: ends processes, or sends them another signal. */

import type { Command } from 'commander'
import type { Session } from '../session.ts'
import { each } from './each.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly signal?: string
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .option('-s, --signal <name>', 'send this instead, such as SIGTERM')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, names: string[], { signal: name, json }: Options) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      await each(session, names, { doing: 'ending', json }, async (process) => {
        const guest = await sandbox.process(process, { signal: session.signal })
        if (name === undefined) await guest.delete({ signal: session.signal })
        else await guest.signal(name, { signal: session.signal })
        return { id: process }
      })
    })
}
