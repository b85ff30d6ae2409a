import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type StatePaths, statePaths } from '../paths.ts'
import { Proc, type ProcessIdentity } from '../process/proc.ts'
import { type VmState, writeState } from '../vm/state-file.ts'
import { reclaim } from './reclaim.ts'

const instance = 'portico-aaaaaaaaaaaaaaaa'
let root: string
let procRoot: string
let paths: StatePaths

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'portico-reclaim-'))
  procRoot = join(root, 'proc')
  paths = statePaths(join(root, 'state'))
  await mkdir(join(procRoot, 'sys/kernel/random'), { recursive: true })
  await writeFile(join(procRoot, 'sys/kernel/random/boot_id'), 'boot-1\n')
  await mkdir(paths.vms, { recursive: true })
})
afterEach(() => rm(root, { recursive: true }))

async function addProcess(pid: number, args: string[], startTicks = 100): Promise<void> {
  await mkdir(join(procRoot, String(pid)))
  await writeFile(join(procRoot, String(pid), 'cmdline'), args.map((arg) => `${arg}\0`).join(''))
  const stat = `${pid} (x) S 1 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 ${startTicks} 0 0`
  await writeFile(join(procRoot, String(pid), 'stat'), stat)
}

async function addMachine(id: string, qemu: ProcessIdentity, bootId = 'boot-1'): Promise<void> {
  await mkdir(paths.vm(id).vm, { recursive: true })
  await writeFile(paths.vm(id).scratch, 'disk')
  const state: VmState = {
    schema: 1,
    id,
    generation: 1,
    slot: 0,
    bootId,
    qemu,
    accelerator: 'tcg',
    image: { name: 'python', digest: 'sha256:0' },
    vcpus: 1,
    memoryMib: 256,
    diskMib: 64,
    startedAt: '2026-01-01T00:00:00.000Z',
  }
  await writeState(paths.vm(id).state, state)
}

async function run(kill?: (identity: ProcessIdentity) => Promise<void>) {
  const killed: number[] = []
  const summary = await reclaim({
    paths,
    instance,
    proc: new Proc(procRoot),
    kill: async (identity) => {
      killed.push(identity.pid)
      await kill?.(identity)
    },
  })
  return { summary, killed: killed.sort() }
}

it('does nothing in a clean folder', async () => {
  await addProcess(1, ['init'])
  expect(await run()).toEqual({ killed: [], summary: { processes: 0, folders: 0, failed: [] } })
})

it('ends processes that carry the name of this folder, and only those', async () => {
  await addProcess(10, ['/usr/bin/qemu-system-x86_64', '-name', `guest=${instance}.runabc`, '-S'])
  await addProcess(11, ['bwrap', '--unshare-pid', 'qemu', '-name', `guest=${instance}.runabc`])
  await addProcess(12, ['/usr/bin/qemu-system-x86_64', '-name', 'guest=portico-bbbbbbbbbbbbbbbb.runabc'])
  await addProcess(13, ['grep', `guest=${instance}.runabc`])
  await addProcess(14, ['qemu', '-name', `guest=${instance}x.runabc`])
  await addProcess(15, ['qemu', '-name'])
  expect((await run()).killed).toEqual([10, 11])
})

it('ends a process that is recorded, unless it is a later one with the same number or of an earlier boot', async () => {
  await addProcess(20, ['hidden'])
  await addProcess(21, ['later'], 999)
  await addProcess(22, ['other boot'])
  await addMachine('a', { pid: 20, startTicks: 100 })
  await addMachine('b', { pid: 21, startTicks: 100 })
  await addMachine('c', { pid: 22, startTicks: 100 }, 'boot-0')
  await addMachine('d', { pid: 23, startTicks: 100 })
  const { killed, summary } = await run()
  expect(killed).toEqual([20])
  expect(summary).toEqual({ processes: 1, folders: 4, failed: [] })
})

it('removes every folder, whatever is in it, and nothing beside', async () => {
  await addMachine('a', { pid: 20, startTicks: 100 })
  await mkdir(join(paths.vms, 'half-made'))
  await writeFile(join(paths.vms, 'stray'), '')
  await mkdir(paths.disks)
  await run()
  expect(await readdir(paths.vms)).toEqual([])
  expect((await readdir(paths.root)).sort()).toEqual(['disks', 'vms'])
})

it('goes on where something cannot be cleared, and says so', async () => {
  await addProcess(10, ['qemu', '-name', `guest=${instance}.a`])
  await addMachine('a', { pid: 10, startTicks: 100 })
  const { summary } = await run(() => Promise.reject(new AppError('internal', 'cannot end a process')))
  expect(summary).toEqual({ processes: 1, folders: 1, failed: ['cannot end a process'] })
  expect(await readdir(paths.vms)).toEqual([])
})
