/**
 * Makes the host ready for machines on QEMU: one runner per state folder, nothing left of an earlier one, disks, and the choice between KVM and
 * emulation. It owns the lock.
 */

import { chmod, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { abortable, Cleanup } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { loadAssets } from '../../assets.ts'
import type { EngineConfig } from '../../config.ts'
import { ScratchDisks } from '../../disk/scratch.ts'
import { GuestChannel } from '../../guest/channel.ts'
import { firstUid, instanceName, tscKhz } from '../../host.ts'
import type { Logger } from '../../log.ts'
import { statePaths } from '../../paths.ts'
import { Proc } from '../../process/proc.ts'
import { takeLock } from '../../startup/lock.ts'
import { reclaim } from '../../startup/reclaim.ts'
import type { VmDriver } from '../driver.ts'
import { QemuDriver, type QemuOptions } from './driver.ts'
import { decideAccelerator, type Verdict } from './kvm.ts'

export interface OpenedDriver {
  readonly driver: VmDriver
  /** Gives the state folder back. All machines must be stopped before. */
  close(): Promise<void>
}

/** Opens the state folder and the host's virtual machines, or throws having freed all. */
export async function openQemu(config: EngineConfig, log: Logger): Promise<OpenedDriver> {
  const cleanup = new Cleanup()
  try {
    const common = await prepareHost(config, log, cleanup)
    const { accelerator } = await choose(config, common, log)
    return { driver: new QemuDriver({ ...common, accelerator }), close: () => cleanup.run() }
  } catch (error) {
    await cleanup.run()
    throw error
  }
}

/** Only finds out what machines would run on, and why. */
export async function probeAccelerator(config: EngineConfig, log: Logger): Promise<Verdict> {
  const cleanup = new Cleanup()
  try {
    return await choose(config, await prepareHost(config, log, cleanup), log)
  } finally {
    await cleanup.run()
  }
}

type Common = Omit<QemuOptions, 'accelerator'>

async function prepareHost(config: EngineConfig, log: Logger, cleanup: Cleanup): Promise<Common> {
  const assets = await loadAssets(config.assets)
  const separateUsers = checkUser(config)
  const paths = statePaths(config.stateDir)
  await mkdir(paths.vms, { recursive: true })
  await chmod(paths.root, 0o700)
  const instance = await instanceName(paths.instance)
  cleanup.add('the lock', await takeLock(instance))
  const reclaimed = await reclaim({ paths, instance })
  if (reclaimed.processes + reclaimed.folders + reclaimed.failed.length > 0) log.warn(reclaimed, 'runner.reclaim')
  const disks = new ScratchDisks(paths, assets.vmmRoot)
  await disks.open()
  return {
    assets,
    paths,
    disks,
    instance,
    bootId: await new Proc().bootId(),
    firstUid: separateUsers ? firstUid(instance) : undefined,
    tscKhz: await tscKhz(),
  }
}

/** Where the verdict on KVM is kept: beside what it was tried with. */
export function verdictFile(assetsFile: string): string {
  return join(dirname(assetsFile), 'kvm-verdict.json')
}

function checkUser(config: EngineConfig): boolean {
  if (config.vmUser === 'same') return false
  if (process.getuid?.() === 0) return true
  throw new AppError(
    'permission_denied',
    'cannot start the runner: it needs root to give each machine a user of its own; set vmUser to "same" to do without, for development only',
  )
}

async function choose(config: EngineConfig, common: Common, log: Logger): Promise<Verdict> {
  const start = performance.now()
  const { qemuVersion, kernelVersion } = common.assets
  const verdict = await decideAccelerator({
    asked: config.accelerator,
    host: { bootId: common.bootId, qemuVersion, kernelVersion },
    verdictFile: verdictFile(config.assets),
    tryBoot: () => tryBoot(new QemuDriver({ ...common, accelerator: 'kvm' })),
  })
  log.info({ ...verdict, ms: Math.round(performance.now() - start) }, 'runner.accelerator')
  return verdict
}

const trialLimitMs = 8000
/** Beyond every slot that sandboxes get. */
const trialSlot = 1023

async function tryBoot(driver: QemuDriver): Promise<void> {
  const [image] = driver.images.keys()
  if (image === undefined) throw new AppError('image_unknown', 'cannot try it: there is no image')
  const late = new AppError('deadline', `its agent did not speak within ${trialLimitMs} ms`)
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(late), trialLimitMs)
  try {
    const spec = { id: 'kvm-trial', generation: 1, slot: trialSlot, image, vcpus: 1, memoryMib: 256, diskMib: 64 }
    const vm = await driver.start(spec, limit.signal)
    try {
      const ended = vm.ended.then(({ reason }) => Promise.reject(new AppError('boot_failed', reason)))
      const opened = vm
        .connect(limit.signal)
        .then((link) => GuestChannel.open(link, { signal: limit.signal, again: false }))
      const channel = await Promise.race([abortable(opened, limit.signal), ended])
      channel.close()
    } finally {
      await vm.stop()
    }
  } finally {
    clearTimeout(timer)
  }
}
