/** `portico runners [list]`, `enrol`, `show ID`, `drain ID`, `undrain ID…` and `remove ID`: the fleet, for the operator of a platform. */

import type { RunnerInfo } from '@portico/sdk/admin'
import { ConflictError } from '@portico/sdk/errors'
import { type Command, Option } from 'commander'
import { CommandError } from '../command-error.ts'
import { fieldText } from '../output/plain.ts'
import { table } from '../output/table.ts'
import { age } from '../output/time.ts'
import type { Session } from '../session.ts'
import { type DrainOptions, drain } from './drain.ts'
import { each } from './each.ts'

interface ListOptions {
  readonly json?: boolean
  readonly quiet?: boolean
}

interface EnrolOptions {
  readonly region: string
  readonly name?: string
  readonly json?: boolean
}

const heading = ['ID', 'NAME', 'REGION', 'STATE', 'SANDBOXES', 'CPUS', 'FREE', 'LOAD', 'VERSION', 'SEEN']

export function define(command: Command, session: Session): void {
  const runners = command.helpCommand(false)
  addList(runners, session)
  addEnrol(runners, session)
  addShow(runners, session)
  addDrain(runners, session)
  addRemove(runners, session)
}

function addList(runners: Command, session: Session): void {
  runners
    .command('list', { isDefault: true })
    .usage('[options]')
    .alias('ls')
    .description('list the runners')
    .option('-q, --quiet', 'print ids alone')
    .option('--json', 'print one line of JSON')
    .action(async ({ json, quiet }: ListOptions) => {
      using admin = await session.connectAdmin()
      const found = await admin.runners.list({ signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else if (quiet) await session.terminal.print(found.map(({ id }) => `${id}\n`).join(''))
      else await session.terminal.print(table(heading, found.map(row)))
    })
}

function addEnrol(runners: Command, session: Session): void {
  runners
    .command('enrol')
    .usage('[options]')
    .description('admit a runner and print its token, this once')
    .requiredOption('--region <region>', 'the region that it serves')
    .option('--name <name>', 'what people call it')
    .option('--json', 'print token and record as one line of JSON')
    .action(async ({ region, name, json }: EnrolOptions) => {
      using admin = await session.connectAdmin()
      const made = await admin.runners.enrol({ region, name, signal: session.signal })
      if (json) await session.terminal.printJson(made)
      else await session.terminal.print(`${made.token}\n`)
    })
}

function addShow(runners: Command, session: Session): void {
  runners
    .command('show <id>')
    .usage('[options] ID')
    .description('print all that is known of a runner')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, { json }: { json?: boolean }) => {
      using admin = await session.connectAdmin()
      const runner = await admin.runners.get(id, { signal: session.signal })
      if (json) await session.terminal.printJson(runner)
      else await session.terminal.print(table(['FIELD', 'VALUE'], fields(runner)))
    })
}

function addDrain(runners: Command, session: Session): void {
  runners
    .command('drain <id>')
    .usage('[options] ID')
    .description('give a runner no new sandboxes, and wait until it is empty')
    .addOption(
      new Option('--mode <mode>', 'put to sleep what runs there, or let it end by itself')
        .choices(['hibernate', 'wait'])
        .default('hibernate'),
    )
    .option('--no-wait', 'begin, and do not wait')
    .option('--json', 'print its record as one line of JSON')
    .action(async (id: string, options: DrainOptions) => await drain(session, id, options))
  runners
    .command('undrain <id...>')
    .usage('[options] ID…')
    .description('take a drain back')
    .option('--json', 'print their records as one line of JSON')
    .action(async (ids: string[], { json }: { json?: boolean }) => {
      using admin = await session.connectAdmin()
      const { signal } = session
      await each(session, ids, { doing: 'undraining', json }, async (id) => await admin.runners.undrain(id, { signal }))
    })
}

function addRemove(runners: Command, session: Session): void {
  runners
    .command('remove <id>')
    .alias('rm')
    .usage('[options] ID')
    .description('forget a runner and refuse its token')
    .option('--lost', 'also if it has sandboxes: they are lost')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, { lost, json }: { lost?: boolean; json?: boolean }) => {
      using admin = await session.connectAdmin()
      const lostSandboxes = await admin.runners.remove(id, { lost: lost === true, signal: session.signal }).catch(inUse)
      if (json) await session.terminal.printJson({ id, lostSandboxes })
      else await session.terminal.print(`${id}\n`)
      if (lostSandboxes > 0 && !json) await session.terminal.complain(`${lostSandboxes} sandboxes were lost with it\n`)
    })
}

/** Says how to remove it all the same. */
function inUse(error: unknown): never {
  if (!(error instanceof ConflictError)) throw error
  throw new CommandError(error.message, 'Drain it first, or give it and its sandboxes up with --lost.')
}

function row(runner: RunnerInfo): string[] {
  const { id, name, region, sandboxes, vcpus, freeMemMiB, load, version, seenAt } = runner
  const free = freeMemMiB === null ? '-' : `${freeMemMiB} MiB`
  const seen = seenAt === null ? 'never' : `${age(seenAt)} ago`
  return [id, name, region, state(runner), String(sandboxes), text(vcpus), free, text(load), version ?? '-', seen]
}

function state({ connected, draining, drain: progress }: RunnerInfo): string {
  const emptying = progress?.done ? 'drained' : draining ? 'draining' : undefined
  if (connected) return emptying ?? 'ready'
  return emptying === undefined ? 'away' : `away, ${emptying}`
}

/** All but what is empty, each as its line. */
function fields(runner: RunnerInfo): string[][] {
  return Object.entries(runner).map(([name, value]) => [name, value === null ? '-' : fieldText(value)])
}

function text(value: number | null): string {
  return value === null ? '-' : String(value)
}
