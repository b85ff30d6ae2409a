/**
 * What tests on real machines share: the assets that set-up built, a state folder of their own, and a look at what is left on the host. Everything that
 * belongs to a state folder carries its name, so tests of several folders can run on one host.
 */

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Proc } from '../process/proc.ts'

const home = process.env.PORTICO_HOME ?? resolve(import.meta.dirname, '../../../.portico')

/** The list that set-up wrote. */
export const assetsFile = process.env.PORTICO_ASSETS ?? join(home, 'cache', 'assets.json')

export interface TestFolder {
  readonly stateDir: string
  /** Processes, machine folders, sockets and mounts of this state folder, by name; empty when nothing is left. */
  leftovers(): Promise<string[]>
  remove(): Promise<void>
}

/** A new state folder. `depth` makes its path long. */
export async function testFolder(depth = 0): Promise<TestFolder> {
  const root = await mkdtemp('/tmp/portico-vm-test-')
  const stateDir = join(root, ...new Array<string>(depth).fill('a-folder-whose-name-is-rather-long'), 'state')
  return {
    stateDir,
    leftovers: () => leftovers(stateDir),
    remove: () => rm(root, { recursive: true, force: true }),
  }
}

async function leftovers(stateDir: string): Promise<string[]> {
  const instance = (await readFile(join(stateDir, 'instance'), 'utf8').catch(() => 'none')).trim()
  const folders = await readdir(join(stateDir, 'vms')).catch(() => [])
  const half = (await readdir(join(stateDir, 'disks')).catch(() => [])).filter((name) => name.endsWith('.making'))
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').filter((line) => line.includes(stateDir))
  const sockets = (await readFile('/proc/net/unix', 'utf8')).split('\n').filter((line) => line.includes(stateDir))
  return [...(await processesOf(instance)), ...folders, ...half, ...mounts, ...sockets]
}

/** Arguments of the processes that carry the name of a state folder. */
export async function processesOf(instance: string): Promise<string[]> {
  const proc = new Proc()
  const lines = await Promise.all((await proc.list()).map(async (pid) => (await proc.commandLine(pid)).join(' ')))
  return lines.filter((line) => line.includes(`guest=${instance}.`))
}
