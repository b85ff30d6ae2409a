/** `portico stop ID…`: all of them at once; prints the ids of those that are gone, and tells of the others. */

import type { Portico } from '@portico/sdk'
import type { Command } from 'commander'
import { failed } from '../exit-codes.ts'
import { lines } from '../output/failure.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

export function addStop(program: Command, session: Session): void {
  program
    .command('stop <id...>')
    .alias('rm')
    .usage('[options] ID…')
    .description('destroy sandboxes')
    .option('--json', 'print what each used, as one line of JSON')
    .action(async (ids: string[], { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      await session.progress.begin(`destroying ${ids.length === 1 ? ids[0] : `${ids.length} sandboxes`}`)
      const ends = await Promise.allSettled(ids.map((id) => stop(portico, id, session.signal)))
      await session.progress.clear()
      session.signal.throwIfAborted()
      const stopped = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []))
      if (json) await session.terminal.printJson(stopped)
      else await session.terminal.print(stopped.map(({ id }) => `${id}\n`).join(''))
      for (const end of ends) {
        if (end.status === 'fulfilled') continue
        session.exitCode = failed
        await session.terminal.complain(lines(end.reason, session.local))
      }
    })
}

async function stop(portico: Portico, id: string, signal: AbortSignal) {
  const sandbox = await findSandbox(portico, id, signal)
  return { id, ...(await sandbox.destroy({ signal })) }
}
