/** `portico output ID PROCESS`: what a process has printed, and with --follow what it prints. Ctrl-C ends the looking, not the process. */

import type { Command } from 'commander'
import { offset } from '../args/offset.ts'
import { printOutput } from '../follow-process.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly follow?: boolean
  readonly from: number
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .option('-f, --follow', 'and what it prints, until it ends')
    .option('--from <offset>', 'from this byte on', offset, 0)
    .option('--json', 'print a line of JSON for each piece, its bytes in base64')
    .action(async (id: string, name: string, { follow, from, json }: Options) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      const guest = await sandbox.process(name, { signal: session.signal })
      const { signal } = session
      const output = follow ? guest.follow({ from, signal, hold: false }) : guest.printed({ from, signal })
      if (!json) return await printOutput(session, output)
      for await (const item of output)
        await session.terminal.printJson(
          item.type === 'gap' ? item : { ...item, bytes: Buffer.from(item.bytes).toString('base64') },
        )
    })
}
