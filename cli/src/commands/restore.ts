/** `portico restore SNAPSHOT`: on standard output nothing but the id of the new sandbox. What is not given is as it was when the snapshot was taken. */

import type { Command } from 'commander'
import { wholeSeconds } from '../args/duration.ts'
import { type Variables, variable } from '../args/environment.ts'
import { addLifetimeOptions, type LifetimeOptions, lifetime } from '../args/lifetime-options.ts'
import { addMarks, type Marks, marks } from '../args/marks.ts'
import { elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'

interface Options extends LifetimeOptions, Marks {
  readonly idle?: number
  readonly env?: Variables
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .option('-e, --env <name=value>', 'a variable for every command in it; repeatable', variable)
    .option('--idle <duration>', 'how long without activity is idle; 0 is never', wholeSeconds)
  addLifetimeOptions(addMarks(command))
    .option('--no-auto-resume', 'no use wakes it when it is hibernated')
    .option('--json', 'print its record as one line of JSON')
    .action(async (snapshot: string, options: Options) => {
      await using portico = await session.connect()
      const begin = performance.now()
      await session.progress.begin(`restoring ${snapshot}`)
      const { idle, env } = options
      const changes = { timeoutSec: idle, env, ...lifetime(options), ...marks(options) }
      const sandbox = await portico.restore(snapshot, { ...changes, signal: session.signal })
      await session.progress.done(`sandbox ready in ${elapsed(performance.now() - begin)}`)
      if (options.json) await session.terminal.printJson(sandbox)
      else await session.terminal.print(`${sandbox.id}\n`)
    })
}
