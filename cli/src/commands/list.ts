/** `portico list` */

import type { Sandbox, SandboxStatus, SandboxUsage } from '@portico/sdk'
import type { Command } from 'commander'
import { type Labels, label } from '../args/marks.ts'
import { size } from '../output/size.ts'
import { table } from '../output/table.ts'
import { age, elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'
import { usages } from './usages.ts'

interface Options {
  readonly json?: boolean
  readonly quiet?: boolean
  readonly wide?: boolean
  readonly state?: readonly SandboxStatus[]
  readonly label?: Labels
  readonly name?: string
}

const heading = ['ID', 'NAME', 'STATUS', 'IMAGE', 'CPUS', 'MEMORY', 'AGE']
/** What a sandbox takes and has used: memory that is its own or its share on the runner's host, processor time, and time awake. */
const wideHeading = [...heading, 'PSS', 'CPU', 'UPTIME']

export function define(command: Command, session: Session): void {
  command
    .option('-q, --quiet', 'print ids alone')
    .option('-w, --wide', 'add memory taken, CPU time and uptime of those that run')
    .option('--state <states>', 'only these, such as running,hibernated', states)
    .option('--label <name=value>', 'only those with this label; repeatable', label)
    .option('--name <name>', 'only those of this name')
    .option('--json', 'print one line of JSON')
    .action(async ({ json, quiet, wide, state, label: labels, name }: Options) => {
      await using portico = await session.connect()
      const sandboxes = await portico.list({ state, labels, name, signal: session.signal })
      if (quiet && !json) return await session.terminal.print(sandboxes.map(({ id }) => `${id}\n`).join(''))
      const used = wide ? await usages(session, sandboxes) : undefined
      if (json) await session.terminal.printJson(used ? sandboxes.map(withUsage(used)) : sandboxes)
      else if (used) await session.terminal.print(table(wideHeading, sandboxes.map(wideRow(used))))
      else await session.terminal.print(table(heading, sandboxes.map(row)))
    })
}

type Used = ReadonlyMap<string, SandboxUsage>

function withUsage(used: Used) {
  return (sandbox: Sandbox) => ({ ...sandbox, usage: used.get(sandbox.id) ?? null })
}

/** States as they are written after each other; the platform knows which there are. */
function states(text: string): readonly SandboxStatus[] {
  return text.split(',').map((state) => state.trim()) as SandboxStatus[]
}

function row({ id, name, status, image, vcpus, memMiB, createdAt }: Sandbox): string[] {
  return [id, name ?? '-', status, image, String(vcpus), `${memMiB} MiB`, age(createdAt)]
}

function wideRow(used: Used) {
  return (sandbox: Sandbox): string[] => {
    const usage = used.get(sandbox.id)
    if (usage === undefined) return [...row(sandbox), '-', '-', '-']
    return [...row(sandbox), size(usage.memCurrentBytes), elapsed(usage.cpuMs), elapsed(usage.uptimeMs)]
  }
}
