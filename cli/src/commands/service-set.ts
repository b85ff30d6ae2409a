/** `portico service set ID NAME -- CMD…`: defines a service, or defines it anew. */

import type { RestartPolicy } from '@portico/sdk'
import { type Command, Option } from 'commander'
import { duration, positiveDuration } from '../args/duration.ts'
import { type Variables, variable } from '../args/environment.ts'
import { port } from '../args/port.ts'
import { CommandError } from '../command-error.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly env?: Variables
  readonly cwd?: string
  readonly user?: string
  readonly healthPort?: number
  readonly needs?: readonly string[]
  readonly image?: string
  readonly restart?: RestartPolicy
  readonly startTimeout?: number
  readonly stopTimeout?: number
  readonly start?: boolean
  readonly json?: boolean
}

export function addServiceSet(service: Command, session: Session): void {
  service
    .command('set <id> <name> [cmd...]')
    .usage('[options] ID NAME -- CMD…')
    .description('define a service and print its name')
    .option('-e, --env <name=value>', 'a variable for it; repeatable', variable)
    .option('--cwd <dir>', 'working directory')
    .option('--user <user>', 'as whom, a name or number')
    .option('--health-port <port>', 'it is ready when this port takes connections', port)
    .option('--needs <name>', 'this one is started first; repeatable', collect)
    .option('--image <image>', 'run it in a container of this image')
    .addOption(new Option('--restart <when>', 'when it ends by itself').choices(['no', 'on-failure', 'always']))
    .option('--start-timeout <duration>', 'how long it may take to be ready (default: 1m)', positiveDuration)
    .option('--stop-timeout <duration>', 'how long it may take to end (default: 10s)', duration)
    .option('--start', 'start it, and wait until it is ready')
    .option('--json', 'print its record as one line of JSON')
    .action(async (id: string, name: string, [cmd, ...args]: string[], options: Options) => {
      if (cmd === undefined)
        throw new CommandError('cannot define the service: no command is given', 'Put it after --.')
      await using portico = await session.connect()
      const { services } = await findSandbox(portico, id, session.signal)
      const { signal } = session
      await session.progress.begin(`defining ${name}`)
      let made = await services.upsert(name, { cmd, args, ...definition(options), signal })
      if (options.start) {
        await session.progress.begin(`starting ${name}`)
        made = await services.start(name, { signal })
      }
      await session.progress.clear()
      if (options.json) await session.terminal.printJson(made)
      else await session.terminal.print(`${name}\n`)
    })
}

function definition({ env, cwd, user, healthPort, needs, image, restart, startTimeout, stopTimeout }: Options) {
  return {
    env,
    workingDir: cwd,
    user,
    healthPort,
    needs,
    ...(image === undefined ? {} : { container: true, image }),
    restart,
    startTimeoutSec: startTimeout,
    stopTimeoutSec: stopTimeout,
  }
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}
