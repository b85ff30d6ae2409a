/**
 * QEMU with the verified recipe and nothing of Portico's runner around it: same kernel, initramfs, image and processor model. It has a second port, raw,
 * for the channel's throughput without a protocol. Its root is the machine root, without another user or namespaces; it dies with this process.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rm } from 'node:fs/promises'
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

export async function loadAssets(): Promise<Assets> {
  return JSON.parse(await readFile(paths.assets, 'utf8')) as Assets
}

/** What it starts from. Files are those of `directory`, which is `/run` inside, or host files by the name that they get in `/tmp`. */
export interface BareStart {
  readonly assets: Assets
  readonly directory: string
  readonly image: string
  readonly files?: Readonly<Record<string, string>>
  readonly memory: readonly string[]
  readonly disk: string
  readonly more?: readonly string[]
}

export interface BareProcess {
  /** When QEMU was started, by `performance.now()`. */
  readonly startedAt: number
  readonly child: ChildProcess
  connect(name: 'agent' | 'raw' | 'qmp'): Promise<Socket>
  /** Ends it and removes its directory. */
  stop(): Promise<void>
}

export const memoryMib = 1024

export async function startBare(start: BareStart): Promise<BareProcess> {
  const args = qemuArguments(start, await tscKhz())
  const startedAt = performance.now()
  const child = spawn('bwrap', [...jail(start), 'qemu-system-x86_64', ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const sockets: Socket[] = []
  return {
    startedAt,
    child,
    async connect(name) {
      const socket = await connected(join(start.directory, name), child)
      socket.on('error', () => undefined)
      sockets.push(socket)
      return socket
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, 'exit')
        child.kill('SIGKILL')
        await gone
      }
      await rm(start.directory, { recursive: true, force: true })
    },
  }
}

/** Its share of the host's memory in MiB, QEMU's own and its guest's (PSS), as the runner measures a sandbox. */
export async function memoryOf(child: ChildProcess): Promise<number> {
  let kib = 0
  for (const pid of [child.pid, ...(await childrenOf(child.pid))]) {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
    kib += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0)
  }
  return kib / 1024
}

async function childrenOf(parent: number | undefined): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const text = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
    const [, parentField] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    if (Number(parentField) === parent) found.push(Number(name))
  }
  return found
}

function jail({ assets, directory, image, files = {} }: BareStart): string[] {
  const erofs = assets.images[image]?.erofs
  if (erofs === undefined) throw new Error(`cannot boot ${image}: set-up has not built it`)
  const readOnly = { kernel: assets.kernel, initramfs: assets.initramfs, image: erofs, ...files }
  return [
    '--die-with-parent',
    ...['--ro-bind', assets.vmmRoot, '/', '--dev', '/dev', '--tmpfs', '/tmp'],
    ...Object.entries(readOnly).flatMap(([name, file]) => ['--ro-bind', file, `/tmp/${name}`]),
    ...['--bind', directory, '/run'],
  ]
}

function qemuArguments({ memory, disk, more = [] }: BareStart, khz: number): string[] {
  const socket = (id: string) => ['-chardev', `socket,id=${id},path=/run/${id},server=on,wait=off`]
  const port = (id: string, name: string) => [
    ...socket(id),
    ...['-device', `virtserialport,chardev=${id},name=${name}`],
  ]
  const drive = (id: string, what: string) => [
    ...['-drive', `if=none,id=${id},${what}`],
    ...['-device', `virtio-blk-device,drive=${id},serial=${id}`],
  ]
  const clock = `tsc_early_khz=${khz} no_timer_check tsc=reliable`
  return [
    ...['-M', 'microvm,x-option-roms=off,isa-serial=on,rtc=on,suppress-vmdesc=on,memory-backend=mem'],
    ...['-bios', 'qboot.rom', '-accel', 'tcg,thread=single,tb-size=128', '-cpu', 'max,-erms,-fsrm'],
    ...memory,
    ...['-m', `${memoryMib}M`, '-smp', '1', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', '/tmp/kernel', '-initrd', '/tmp/initramfs'],
    ...['-append', `quiet reboot=t panic=-1 pci=off console=ttyS0 ${clock}`],
    ...[...socket('qmp'), '-mon', 'chardev=qmp,mode=control', '-serial', 'null'],
    ...drive('image', 'file=/tmp/image,format=raw,readonly=on'),
    ...drive('scratch', disk),
    ...['-device', 'virtio-serial-device', ...port('agent', 'portico.agent'), ...port('raw', 'bench')],
    ...['-object', 'rng-builtin,id=random', '-device', 'virtio-rng-device,rng=random'],
    ...more,
  ]
}

async function tscKhz(): Promise<number> {
  const bogomips = /bogomips\s*:\s*([\d.]+)/.exec(await readFile('/proc/cpuinfo', 'utf8'))?.[1]
  return Math.round((Number(bogomips) / 2) * 1000)
}

async function connected(path: string, child: ChildProcess): Promise<Socket> {
  const limit = AbortSignal.timeout(10_000)
  for (;;) {
    if (child.exitCode !== null) throw new Error('cannot measure: bare QEMU ended')
    const socket = connect(path)
    const outcome = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    if (outcome) return socket
    await wait(1, undefined, { signal: limit })
  }
}
