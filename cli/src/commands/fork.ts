/** `portico fork ID`: on standard output nothing but the ids of the children. */

import type { Command } from 'commander'
import { count } from '../args/count.ts'
import { failed } from '../exit-codes.ts'
import { lines } from '../output/failure.ts'
import { elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly count: number
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .option('--count <n>', 'how many', count, 1)
    .option('--json', 'print their records, and what failed, as one line of JSON')
    .action(async (id: string, options: Options) => {
      await using portico = await session.connect()
      const parent = await findSandbox(portico, id, session.signal)
      const begin = performance.now()
      await session.progress.begin(`forking ${id}`)
      const forked = await parent.fork(options.count, { signal: session.signal })
      const { children, pauseMs } = forked
      const many = children.length === 1 ? '1 child' : `${children.length} children`
      const took = elapsed(performance.now() - begin)
      await session.progress.done(`${many} in ${took}; the parent stood still for ${elapsed(pauseMs)}`)
      if (options.json) {
        const failures = forked.failed.map(({ code, message }) => ({ code, message }))
        await session.terminal.printJson({ children, failed: failures, pauseMs })
      } else await session.terminal.print(children.map((child) => `${child.id}\n`).join(''))
      for (const error of forked.failed) {
        session.exitCode = failed
        await session.terminal.complain(lines(error))
      }
    })
}
