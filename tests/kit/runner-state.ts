/** What a runner has on this host, read from its state folder and from the process table: the truth that the front door's records must agree with. */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A sandbox as its runner keeps it. */
export interface RunnerRecord {
  readonly sandbox: string
  readonly generation: number
  readonly state: 'running' | 'hibernated' | 'error'
  /** The machine that it is, while it runs. */
  readonly machine?: { readonly id: string }
}

export interface RunnerState {
  readonly records: readonly RunnerRecord[]
  /** Names of machines that have a process, one per process of QEMU. */
  readonly processes: readonly string[]
  /** Names of machines that have a folder. */
  readonly machines: readonly string[]
  readonly snapshots: readonly string[]
  /** Folders of sandboxes without a record, and what was captured and belongs to nobody. */
  readonly strays: readonly string[]
}

export async function runnerState(stateDir: string): Promise<RunnerState> {
  const records: RunnerRecord[] = []
  const strays: string[] = []
  for (const id of await names(join(stateDir, 'sandboxes'))) {
    const text = await readFile(join(stateDir, 'sandboxes', id, 'record.json'), 'utf8').catch(() => undefined)
    if (text === undefined) strays.push(`sandboxes/${id}`)
    else records.push(JSON.parse(text) as RunnerRecord)
  }
  for (const name of await names(join(stateDir, 'captures'))) strays.push(`captures/${name}`)
  const instance = (await readFile(join(stateDir, 'instance'), 'utf8').catch(() => '')).trim()
  return {
    records,
    processes: instance === '' ? [] : await machineProcesses(instance),
    machines: (await names(join(stateDir, 'vms'))).sort(),
    snapshots: (await names(join(stateDir, 'snapshots'))).sort(),
    strays,
  }
}

/** Each machine's QEMU carries the name of the runner's folder in its arguments. The jail around it repeats the arguments and is left out. */
async function machineProcesses(instance: string): Promise<string[]> {
  const found: string[] = []
  for (const pid of await names('/proc')) {
    if (!/^\d+$/.test(pid)) continue
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    const isQemu = words[0]?.split('/').pop()?.startsWith('qemu-system') ?? false
    const name = isQemu ? words[words.indexOf('-name') + 1] : undefined
    if (name?.startsWith(`guest=${instance}.`)) found.push(name.slice(`guest=${instance}.`.length).split(',')[0] ?? '')
  }
  return found.sort()
}

async function names(directory: string): Promise<string[]> {
  return await readdir(directory).catch(() => [])
}
