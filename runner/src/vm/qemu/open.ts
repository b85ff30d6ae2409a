/**
 * Makes the host ready for machines on QEMU: one runner per state folder, nothing left of an earlier one, disks, and the choice between KVM and
 * emulation. It owns the lock.
 */

import { chmod, mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { abortable, Cleanup } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { loadAssets } from '../../assets.ts'
import type { EngineConfig } from '../../config.ts'
import { ScratchDisks } from '../../disk/scratch.ts'
import { GuestChannel } from '../../guest/channel.ts'
import { firstUid, guestCpu, instanceName, tscKhz } from '../../host.ts'
import type { Logger } from '../../log.ts'
import { statePaths } from '../../paths.ts'
import { Proc } from '../../process/proc.ts'
import { takeLock } from '../../startup/lock.ts'
import type { Accelerator, VmDriver } from '../driver.ts'
import type { StateVersions } from '../machine-state.ts'
import { processor } from './args/cpu.ts'
import { newMachineId, QemuDriver, type QemuOptions } from './driver.ts'
import { decideAccelerator, type Verdict } from './kvm.ts'

export interface OpenedDriver {
  readonly driver: VmDriver
  /** Gives the state folder back. All machines must be stopped before. */
  close(): Promise<void>
  /** Gives the state folder back and leaves the machines running, for the next process to take over. */
  letGo(): Promise<void>
}

/** Opens the state folder and the host's virtual machines, or throws having freed all. */
export async function openQemu(config: EngineConfig, log: Logger): Promise<OpenedDriver> {
  const cleanup = new Cleanup()
  try {
    const common = await prepareHost(config, cleanup)
    const { accelerator } = await choose(config, common, log)
    const versions = await versionsOf(common, accelerator)
    const driver = new QemuDriver({ ...common, accelerator, versions })
    const close = () => cleanup.run()
    const letGo = async () => {
      driver.letGo()
      await close()
    }
    return { driver, close, letGo }
  } catch (error) {
    await cleanup.run()
    throw error
  }
}

/** Only finds out what machines would run on, and why. */
export async function probeAccelerator(config: EngineConfig, log: Logger): Promise<Verdict> {
  const cleanup = new Cleanup()
  try {
    return await choose(config, await prepareHost(config, cleanup), log)
  } finally {
    await cleanup.run()
  }
}

type Common = Omit<QemuOptions, 'accelerator' | 'versions'>

/** Counts changes of the machine itself: devices and their order. A state of another generation cannot be restored. */
const machineGeneration = 1

async function versionsOf({ assets }: Common, accelerator: Accelerator): Promise<StateVersions> {
  const [, model = ''] = processor(accelerator)
  return { accelerator, qemu: `${assets.qemuVersion}+${machineGeneration}`, cpu: await guestCpu(accelerator, model) }
}

async function prepareHost(config: EngineConfig, cleanup: Cleanup): Promise<Common> {
  const assets = await loadAssets(config.assets)
  const separateUsers = checkUser(config)
  const paths = statePaths(config.stateDir)
  await mkdir(paths.vms, { recursive: true })
  await chmod(paths.root, 0o700)
  const instance = await instanceName(paths.instance)
  cleanup.add('the lock', await takeLock(instance))
  // Nobody holds a captured state any more; machines that run have links of their own.
  await rm(paths.captures, { recursive: true, force: true })
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
    tryBoot: async () => await tryBoot(common),
  })
  log.info({ ...verdict, ms: Math.round(performance.now() - start) }, 'runner.accelerator')
  return verdict
}

const trialLimitMs = 8000
/** Beyond every slot that sandboxes get. */
const trialSlot = 1023

async function tryBoot(common: Common): Promise<void> {
  const driver = new QemuDriver({ ...common, accelerator: 'kvm', versions: await versionsOf(common, 'kvm') })
  const [image] = driver.images.keys()
  if (image === undefined) throw new AppError('image_unknown', 'cannot try it: there is no image')
  const late = new AppError('deadline', `its agent did not speak within ${trialLimitMs} ms`)
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(late), trialLimitMs)
  try {
    const spec = { id: newMachineId(), slot: trialSlot, image, vcpus: 1, memoryMib: 256, diskMib: 64 }
    const vm = await driver.boot(spec, limit.signal)
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
