/**
 * Clears what a crash left behind: machines of this state folder that still run, and their folders. A process is one of ours if its arguments carry
 * this folder's name, or if a `state.json` names exactly this process; nothing else is touched. It runs before anything is started, under the lock.
 */

import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import type { StatePaths } from '../paths.ts'
import { killProcess } from '../process/kill.ts'
import { Proc, type ProcessIdentity } from '../process/proc.ts'
import { readState } from '../vm/state-file.ts'

export interface ReclaimOptions {
  readonly paths: StatePaths
  readonly instance: string
  readonly proc?: Proc
  /** Ends one process and waits until it is gone. */
  readonly kill?: (identity: ProcessIdentity) => Promise<void>
}

/** What was found and cleared, and what could not be. */
export interface Reclaimed {
  readonly processes: number
  readonly folders: number
  readonly failed: readonly string[]
}

const killLimitMs = 10_000

export async function reclaim(options: ReclaimOptions): Promise<Reclaimed> {
  const { paths, instance, proc = new Proc(), kill = forceful(proc) } = options
  const failed: string[] = []
  const found = new Map<number, ProcessIdentity>()
  for (const identity of [...(await named(proc, instance)), ...(await recorded(proc, paths))])
    found.set(identity.pid, identity)
  const killed = await Promise.allSettled([...found.values()].map(kill))
  for (const result of killed) if (result.status === 'rejected') failed.push(AppError.from(result.reason).message)
  const folders = await readdir(paths.vms).catch(() => [])
  for (const name of folders)
    await rm(join(paths.vms, name), { recursive: true, force: true }).catch(() =>
      failed.push(`cannot remove the folder of ${name}`),
    )
  return { processes: found.size, folders: folders.length, failed }
}

/** QEMU carries the name in `-name guest=INSTANCE.ID`; the program that waits for it carries the same argument further back. */
async function named(proc: Proc, instance: string): Promise<ProcessIdentity[]> {
  const identities: ProcessIdentity[] = []
  for (const pid of await proc.list()) {
    const args = await proc.commandLine(pid)
    const at = args.indexOf('-name')
    if (at < 0 || !args[at + 1]?.startsWith(`guest=${instance}.`)) continue
    const stat = await proc.stat(pid)
    if (stat) identities.push({ pid, startTicks: stat.startTicks })
  }
  return identities
}

async function recorded(proc: Proc, paths: StatePaths): Promise<ProcessIdentity[]> {
  const identities: ProcessIdentity[] = []
  const bootId = await proc.bootId().catch(() => undefined)
  for (const name of await readdir(paths.vms).catch(() => [])) {
    const state = await readState(paths.vm(name).state)
    if (state && state.bootId === bootId && (await proc.runs(state.qemu))) identities.push(state.qemu)
  }
  return identities
}

function forceful(proc: Proc): (identity: ProcessIdentity) => Promise<void> {
  return (identity) => killProcess(identity, { limitMs: killLimitMs, signal: new AbortController().signal, proc })
}
