/** The floor of a boot: a bare machine from its cold start, with memory and a disk of its own. */

import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { type BareProcess, loadAssets, memoryMib, startBare } from './bare-machine.ts'

export interface BareVm {
  readonly startedAt: number
  /** The agent's port, of which nothing has been read. */
  readonly agent: Socket
  /** The raw port, `bench` in the guest. */
  readonly raw: Socket
  stop(): Promise<void>
}

/** Starts one; its boot is over when the agent speaks on its port. */
export async function bootBareVm(image = 'python'): Promise<BareVm> {
  const vm = await bootBare(image, ['-object', `memory-backend-ram,id=mem,size=${memoryMib}M`])
  const [agent, raw] = await Promise.all([vm.connect('agent'), vm.connect('raw')])
  return { startedAt: vm.startedAt, agent, raw, stop: () => vm.stop() }
}

/** The same with memory of the caller's choice, and before anybody has connected. */
export async function bootBare(image: string, memory: readonly string[], directory?: string): Promise<BareProcess> {
  await mkdir(paths.temporary, { recursive: true })
  const own = directory ?? (await mkdtemp(join(paths.temporary, 'bare-')))
  execFileSync('truncate', ['-s', '512M', join(own, 'scratch')])
  execFileSync('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=1,lazy_journal_init=1', join(own, 'scratch')])
  return await startBare({
    assets: await loadAssets(),
    directory: own,
    image,
    memory,
    disk: 'file=/run/scratch,format=raw',
  })
}
