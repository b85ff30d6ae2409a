/** Options of the iii commands, and how they read. */

import { type Command, InvalidArgumentError } from 'commander'
import { count } from '../args/count.ts'
import { port } from '../args/port.ts'
import type { Session } from '../session.ts'
import type { Platform } from './sandboxes.ts'

export interface PortOption {
  readonly port?: number
}

export interface MachineOptions extends PortOption {
  readonly cpus?: number
  readonly memory?: number
}

export function addPort(command: Command): Command {
  return command.option('--port <P>', 'the platform on this port of this machine', port)
}

export function addMachine(command: Command): Command {
  return command
    .option('--cpus <N>', 'virtual CPUs (default: what the platform gives, 1)', count)
    .option('--memory <MiB>', 'memory in MiB (default: what the platform gives, 512)', count)
}

export function addEnvironment(command: Command): Command {
  return command.option('-e, --env <KEY=VAL>', 'a variable; repeatable; without = it is skipped', entry)
}

/** Entries so far and one more. */
export function entry(text: string, before: readonly string[] = []): readonly string[] {
  return text.includes('=') ? [...before, text] : before
}

/** Entries as a map; of two of a name the last one counts. */
export function environment(entries: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(
    entries.map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
  )
}

export function seconds(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Give whole seconds.')
  return Number(text)
}

/** The fields of `sandbox::create` that `run` and `create` share. */
export function machine(image: string, { cpus, memory }: MachineOptions) {
  return { image, cpus, memory_mb: memory }
}

/** The platform that a command is for, until the block ends. */
export async function connect(session: Session, { port }: PortOption): Promise<Platform & AsyncDisposable> {
  const given = port === undefined ? undefined : { url: `http://127.0.0.1:${port}` }
  const { portico, connection } = await session.connectTo(given)
  return { portico, connection, [Symbol.asyncDispose]: () => portico.close() }
}
