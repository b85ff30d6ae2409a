/** `portico create IMAGE`: on standard output nothing but the id. */

import type { Command } from 'commander'
import { type Variables, variable } from '../args/environment.ts'
import { addLifetimeOptions, type LifetimeOptions, lifetime } from '../args/lifetime-options.ts'
import { addMarks, type Marks, marks } from '../args/marks.ts'
import { addSandboxOptions, createOptions, type SandboxOptions } from '../args/sandbox-options.ts'
import { elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'

interface Options extends SandboxOptions, LifetimeOptions, Marks {
  readonly env?: Variables
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  addLifetimeOptions(addSandboxOptions(addMarks(command)))
    .option('-e, --env <name=value>', 'a variable for every command in it; repeatable', variable)
    .option('--json', 'print its record as one line of JSON')
    .action(async (image: string, options: Options) => {
      await using portico = await session.connect()
      const begin = performance.now()
      await session.progress.begin(`creating a sandbox of ${image}`)
      const spec = { ...createOptions(image, options), ...lifetime(options), ...marks(options), env: options.env }
      const sandbox = await portico.create({ ...spec, signal: session.signal })
      await session.progress.done(`sandbox ready in ${elapsed(performance.now() - begin)}`)
      if (options.json) await session.terminal.printJson(sandbox)
      else await session.terminal.print(`${sandbox.id}\n`)
    })
}
