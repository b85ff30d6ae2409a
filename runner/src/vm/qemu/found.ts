/**
 * Machines that an earlier process of the runner left. A process is one of ours if its arguments carry this state folder's name, or if a `state.json` in
 * it names exactly this process; nothing else is touched.
 */

import { readdir, rm } from 'node:fs/promises'
import type { StatePaths } from '../../paths.ts'
import { killProcess } from '../../process/kill.ts'
import { Proc, type ProcessIdentity } from '../../process/proc.ts'
import { readState } from '../state-file.ts'

export interface FoundOptions {
  readonly paths: StatePaths
  readonly instance: string
  readonly bootId: string
}

const killLimitMs = 10_000

/** Names of all machines that have a folder or a process. */
export async function foundMachines({ paths, instance }: FoundOptions, proc = new Proc()): Promise<string[]> {
  const folders = await readdir(paths.vms).catch(() => [])
  const processes = await named(proc, instance)
  return [...new Set([...folders, ...processes.map(({ id }) => id)])].sort()
}

/** Ends all processes of a machine and removes its folder. */
export async function clearMachine(id: string, options: FoundOptions, proc = new Proc()): Promise<void> {
  await endProcesses(id, options, proc)
  await rm(options.paths.vm(id).folder, { recursive: true, force: true })
}

/** Ends QEMU and the program that waits for it; resolves when they are gone. */
export async function endProcesses(id: string, options: FoundOptions, proc = new Proc()): Promise<void> {
  const processes: ProcessIdentity[] = (await named(proc, options.instance)).filter((one) => one.id === id)
  const state = await readState(options.paths.vm(id).state)
  if (state && state.bootId === options.bootId) processes.push(state.qemu)
  const signal = new AbortController().signal
  await Promise.all(processes.map((identity) => killProcess(identity, { limitMs: killLimitMs, signal, proc })))
}

/** QEMU carries the name in `-name guest=INSTANCE.ID`; the program that waits for it carries the same argument further back. */
async function named(proc: Proc, instance: string): Promise<(ProcessIdentity & { id: string })[]> {
  const prefix = `guest=${instance}.`
  const found: (ProcessIdentity & { id: string })[] = []
  for (const pid of await proc.list()) {
    const args = await proc.commandLine(pid)
    const name = args[args.indexOf('-name') + 1]
    if (!args.includes('-name') || !name?.startsWith(prefix)) continue
    const stat = await proc.stat(pid)
    if (stat) found.push({ id: name.slice(prefix.length), pid, startTicks: stat.startTicks })
  }
  return found
}
