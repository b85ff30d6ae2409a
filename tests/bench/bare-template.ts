/**
 * The floor of a start from a template: a bare machine that was booted once, and others that go on from its memory, mapped privately, and the state of its
 * devices. What it costs to make one of these is what QEMU and the guest cost; the rest is Portico's.
 */

import { execFileSync } from 'node:child_process'
import { chmod, copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { paths } from '@portico/deploy/checkout'
import { GuestChannel } from '@portico/runner/guest'
import { loadAssets, memoryMib, memoryOf, startBare } from './bare-machine.ts'
import { bootBare } from './bare-vm.ts'
import { execute } from './guest-calls.ts'
import { Monitor } from './monitor.ts'

export interface RestoredVm {
  /** From the start of QEMU's process until the first command had answered. */
  readonly firstExecMs: number
  readonly monitor: Monitor
  exec(): Promise<void>
  /** MiB of the host's memory (PSS). */
  memory(): Promise<number>
  stop(): Promise<void>
}

export interface BareTemplate {
  restore(): Promise<RestoredVm>
  remove(): Promise<void>
}

/** The guest sees that its port was closed an interrupt later, and nothing tells when: idle, it takes far less than this. */
const closeMs = 1000

/** Boots a machine, waits for its agent, and keeps its state. */
export async function makeBareTemplate(image = 'python'): Promise<BareTemplate> {
  await mkdir(paths.temporary, { recursive: true })
  const folder = await mkdtemp(join(paths.temporary, 'bare-template-'))
  try {
    await save(image, folder)
    const { vmmRoot } = await loadAssets()
    const overlay = ['-f', 'qcow2', '-F', 'raw', '-b', '/tmp/scratch', '/run/overlay', '512M']
    const jail = ['--ro-bind', vmmRoot, '/', '--dev', '/dev', '--tmpfs', '/tmp', '--bind', folder, '/run']
    const kept = ['--ro-bind', join(folder, 'scratch'), '/tmp/scratch']
    execFileSync('bwrap', [...jail, ...kept, 'qemu-img', 'create', '-q', ...overlay])
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  return {
    restore: () => restore(image, folder),
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

async function save(image: string, folder: string): Promise<void> {
  const source = await mkdtemp(join(paths.temporary, 'bare-'))
  const own = `memory-backend-file,id=mem,share=on,mem-path=/run/memory,size=${memoryMib}M`
  const vm = await bootBare(image, ['-object', own], source)
  try {
    const monitor = await Monitor.open(await vm.connect('qmp'))
    const channel = await open(await vm.connect('agent'))
    channel.close()
    await wait(closeMs)
    await monitor.run('stop')
    await monitor.run('xen-save-devices-state', { filename: '/run/state' })
    for (const name of ['memory', 'state', 'scratch']) {
      execFileSync('cp', ['--sparse=always', join(source, name), join(folder, name)])
      await chmod(join(folder, name), 0o444)
    }
  } finally {
    await vm.stop()
  }
}

async function restore(image: string, folder: string): Promise<RestoredVm> {
  const directory = await mkdtemp(join(paths.temporary, 'bare-'))
  const assets = await loadAssets()
  const begun = performance.now()
  await copyFile(join(folder, 'overlay'), join(directory, 'scratch.qcow2'))
  const rights = 'share=off,readonly=on,rom=off'
  const vm = await startBare({
    assets,
    directory,
    image,
    files: Object.fromEntries(['memory', 'state', 'scratch'].map((name) => [name, join(folder, name)])),
    memory: ['-object', `memory-backend-file,id=mem,${rights},mem-path=/tmp/memory,size=${memoryMib}M`],
    disk: 'file=/run/scratch.qcow2,format=qcow2,cache=unsafe',
    more: ['-S', '-incoming', 'file:/tmp/state', '-global', 'migration.send-configuration=off'],
  })
  try {
    const [agent, control] = await Promise.all([vm.connect('agent'), vm.connect('qmp')])
    const monitor = await Monitor.open(control)
    await monitor.run('cont')
    const channel = await open(agent)
    const exec = async () => void (await execute((asked) => channel.request(asked), { argv: ['/bin/true'] }))
    await exec()
    const firstExecMs = performance.now() - begun
    return {
      firstExecMs,
      monitor,
      exec,
      memory: () => memoryOf(vm.child),
      async stop() {
        channel.close()
        await vm.stop()
      },
    }
  } catch (error) {
    await vm.stop()
    throw error
  }
}

/** Milliseconds from a restore to its first command's end, so often. */
export async function bareRestores(samples: number): Promise<number[]> {
  const template = await makeBareTemplate()
  const found: number[] = []
  try {
    for (let n = 0; n < samples; n++) {
      const vm = await template.restore()
      await vm.stop()
      found.push(vm.firstExecMs)
    }
  } finally {
    await template.remove()
  }
  return found
}

function open(link: Socket): Promise<GuestChannel> {
  return GuestChannel.open(link, { signal: AbortSignal.timeout(30_000), again: false })
}
