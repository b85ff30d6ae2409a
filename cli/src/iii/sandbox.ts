/** `iii sandbox run|create|exec|list|stop`: five commands with the words, the output and the exit codes that scripts for iii's own command line go by. */

import { type Command, CommanderError } from 'commander'
import { positiveDuration } from '../args/duration.ts'
import { Interrupted } from '../interrupt.ts'
import { lines } from '../output/failure.ts'
import { table } from '../output/table.ts'
import { elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'
import { assertCommand, runGuest } from './guest.ts'
import {
  addEnvironment,
  addMachine,
  addPort,
  connect,
  environment,
  type MachineOptions,
  machine,
  type PortOption,
  seconds,
} from './options.ts'
import { call, create, destroy, find, findLive, type Platform } from './sandboxes.ts'

/** What a command that fails ends with; a guest's own exit code is passed on. */
const failedHere = 1

export function addSandboxCommands(parent: Command, session: Session): void {
  const sandbox = parent.command('sandbox').usage('COMMAND …').description('sandboxes').helpCommand(false)
  addRun(sandbox, session)
  addCreate(sandbox, session)
  addExec(sandbox, session)
  addList(sandbox, session)
  addStop(sandbox, session)
}

function addRun(sandbox: Command, session: Session): void {
  const run = sandbox.command('run <image> [cmd...]').usage('[options] IMAGE -- CMD…')
  addPort(addMachine(run.description('create a sandbox, run one command, stop it'))).action(
    guarded(session, async (image: string, words: string[], options: MachineOptions) => {
      assertCommand(words)
      await using platform = await connect(session, options)
      const uuid = await ready(session, platform, machine(image, options))
      try {
        await runGuest(session, await find(platform.portico, uuid, session.signal), words)
      } finally {
        await destroy(session, platform.portico, uuid)
      }
    }),
  )
}

interface CreateOptions extends MachineOptions {
  readonly idleTimeout?: number
  readonly name?: string
  readonly network?: boolean
  readonly env?: readonly string[]
}

function addCreate(sandbox: Command, session: Session): void {
  const command = sandbox.command('create <image>').usage('[options] IMAGE')
  addPort(
    addEnvironment(
      addMachine(command.description('boot a sandbox and print its id'))
        .option('--idle-timeout <SECS>', 'stop it after so long without exec', seconds)
        .option('--name <LABEL>', 'what the list calls it')
        .option('--network', 'with network access'),
    ),
  ).action(
    guarded(session, async (image: string, options: CreateOptions) => {
      const { idleTimeout, name, network, env } = options
      await using platform = await connect(session, options)
      const data = { ...machine(image, options), idle_timeout_secs: idleTimeout, name, network, env }
      await session.terminal.print(`${await ready(session, platform, data)}\n`)
    }),
  )
}

/** Creates a sandbox, and says so where a person watches and nothing is captured. */
async function ready(session: Session, platform: Platform, data: object): Promise<string> {
  const begin = performance.now()
  const uuid = await create(session, platform, data)
  if (session.terminal.watched && session.terminal.isTerminal)
    await session.terminal.complain(`✓ sandbox ready in ${((performance.now() - begin) / 1000).toFixed(1)}s\n`)
  return uuid
}

interface ExecOptions extends PortOption {
  readonly timeout?: number
  readonly env?: readonly string[]
}

function addExec(sandbox: Command, session: Session): void {
  const exec = sandbox.command('exec <id> [cmd...]').usage('[options] ID -- CMD…')
  addPort(
    addEnvironment(
      exec
        .description('run a command in a sandbox that runs')
        .option('--timeout <DUR>', 'end it after so long, such as 30s, 5m or 500ms', positiveDuration),
    ),
  ).action(
    guarded(session, async (id: string, words: string[], options: ExecOptions) => {
      assertCommand(words)
      await using platform = await connect(session, options)
      const found = await findLive(platform, id, session.signal)
      await runGuest(session, found, words, { env: environment(options.env), timeoutSec: options.timeout })
    }),
  )
}

const heading = ['ID', 'NAME', 'IMAGE', 'AGE', 'EXEC', 'STATE']

function addList(sandbox: Command, session: Session): void {
  const list = sandbox.command('list').usage('[options]').description('list the sandboxes that run')
  addPort(list.option('--all', 'changes nothing: all are listed')).action(
    guarded(session, async (options: PortOption) => {
      await using platform = await connect(session, options)
      const { sandboxes } = await call(platform, 'sandbox::list', {}, session.signal)
      const rows = (Array.isArray(sandboxes) ? sandboxes : []) as readonly Readonly<Record<string, unknown>>[]
      await session.terminal.print(table(heading, rows.map(row)))
    }),
  )
}

function row(sandbox: Readonly<Record<string, unknown>>): string[] {
  const { sandbox_id, name, image, age_secs, exec_in_progress, stopped } = sandbox
  const age = elapsed(Math.floor(Number(age_secs)) * 1000)
  const label = typeof name === 'string' ? name : '-'
  return [
    String(sandbox_id),
    label,
    String(image),
    age,
    exec_in_progress ? 'yes' : 'no',
    stopped ? 'stopped' : 'running',
  ]
}

function addStop(sandbox: Command, session: Session): void {
  const stop = sandbox.command('stop <id>').usage('[options] ID').description('stop a sandbox')
  addPort(stop).action(
    guarded(session, async (id: string, options: PortOption) => {
      await using platform = await connect(session, options)
      await call(platform, 'sandbox::stop', { sandbox_id: id, wait: true }, session.signal)
    }),
  )
}

/** What goes wrong is one line and exit code 1. */
function guarded<Args extends unknown[]>(session: Session, act: (...args: Args) => Promise<void>) {
  return async (...args: Args): Promise<void> => {
    try {
      await act(...args)
    } catch (error) {
      if (error instanceof Interrupted || error instanceof CommanderError) throw error
      await session.progress.clear()
      await session.terminal.complain(lines(error, session.local))
      session.exitCode = failedHere
    }
  }
}
