/**
 * The floor: QEMU with the verified recipe and nothing of Portico's runner around it, same kernel, initramfs and image. It has a second port, raw, for
 * the channel's throughput without a protocol.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { paths } from '@portico/deploy/checkout'

interface Assets {
  readonly vmmRoot: string
  readonly kernel: string
  readonly initramfs: string
  readonly images: Readonly<Record<string, { readonly erofs: string }>>
}

export interface BareVm {
  /** When QEMU was started, by `performance.now()`. */
  readonly startedAt: number
  /** The agent's port, of which nothing has been read. */
  readonly agent: Socket
  /** The raw port, `bench` in the guest. */
  readonly raw: Socket
  stop(): Promise<void>
}

/** Starts one; its boot is over when the agent speaks on its port. */
export async function bootBareVm(image = 'python'): Promise<BareVm> {
  const assets = JSON.parse(await readFile(paths.assets, 'utf8')) as Assets
  const directory = await mkdtemp(join(paths.temporary, 'bare-'))
  execFileSync('truncate', ['-s', '512M', join(directory, 'scratch')])
  execFileSync('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=1,lazy_journal_init=1', join(directory, 'scratch')])
  const startedAt = performance.now()
  const qemu = spawn(
    'bwrap',
    [...jail(assets, directory, image), 'qemu-system-x86_64', ...qemuArguments(await tscKhz())],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  )
  const [agent, raw] = await Promise.all([connected(join(directory, 'agent')), connected(join(directory, 'raw'))])
  return { startedAt, agent, raw, stop: () => stop(qemu, directory, [agent, raw]) }
}

async function stop(qemu: ChildProcess, directory: string, sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) socket.destroy()
  const gone = once(qemu, 'exit')
  qemu.kill('SIGKILL')
  await gone
  await rm(directory, { recursive: true, force: true })
}

/** Only what makes the VMM root QEMU's root: no other user, no namespaces. It dies with this process. */
function jail(assets: Assets, directory: string, image: string): string[] {
  const erofs = assets.images[image]?.erofs
  if (erofs === undefined) throw new Error(`cannot boot ${image}: set-up has not built it`)
  const readOnly = [assets.kernel, assets.initramfs, erofs].flatMap((path, index) => [
    '--ro-bind',
    path,
    `/tmp/${['kernel', 'initramfs', 'image'][index]}`,
  ])
  return [
    '--die-with-parent',
    '--ro-bind',
    assets.vmmRoot,
    '/',
    '--dev',
    '/dev',
    '--tmpfs',
    '/tmp',
    ...readOnly,
    '--bind',
    directory,
    '/run',
  ]
}

function qemuArguments(khz: number): string[] {
  const port = (id: string, name: string) => [
    '-chardev',
    `socket,id=${id},path=/run/${id},server=on,wait=off`,
    '-device',
    `virtserialport,chardev=${id},name=${name}`,
  ]
  const disk = (id: string, path: string, more: string) => [
    '-drive',
    `if=none,id=${id},file=${path},format=raw${more}`,
    '-device',
    `virtio-blk-device,drive=${id},serial=${id}`,
  ]
  return [
    ...[
      '-M',
      'microvm,x-option-roms=off,isa-serial=on,rtc=on,memory-backend=mem',
      '-bios',
      'qboot.rom',
      '-accel',
      'tcg,thread=multi',
      '-cpu',
      'max',
    ],
    ...[
      '-object',
      'memory-backend-ram,id=mem,size=1024M',
      '-m',
      '1024M',
      '-smp',
      '1',
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-no-reboot',
    ],
    ...[
      '-kernel',
      '/tmp/kernel',
      '-initrd',
      '/tmp/initramfs',
      '-append',
      `quiet reboot=t panic=-1 pci=off console=ttyS0 tsc_early_khz=${khz} no_timer_check`,
    ],
    ...['-serial', 'null', ...disk('image', '/tmp/image', ',readonly=on'), ...disk('scratch', '/run/scratch', '')],
    ...[
      '-device',
      'virtio-serial-device',
      ...port('agent', 'portico.agent'),
      ...port('raw', 'bench'),
      '-device',
      'virtio-rng-device',
    ],
  ]
}

async function tscKhz(): Promise<number> {
  const bogomips = /bogomips\s*:\s*([\d.]+)/.exec(await readFile('/proc/cpuinfo', 'utf8'))?.[1]
  return Math.round((Number(bogomips) / 2) * 1000)
}

async function connected(path: string): Promise<Socket> {
  const limit = AbortSignal.timeout(10_000)
  for (;;) {
    const socket = connect(path)
    const outcome = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    if (outcome) return socket
    await wait(2, undefined, { signal: limit })
  }
}
