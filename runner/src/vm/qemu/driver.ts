/**
 * Starts machines on QEMU. Each resource is taken and its undo registered in the next line, so that a start that fails half-way leaves nothing:
 *
 *   folder ─▶ scratch disk ─▶ process in its jail ─▶ state.json ─▶ control socket ─▶ console ─▶ processors run
 */

import { chown, mkdir, open, rm } from 'node:fs/promises'
import { Cleanup, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import type { Assets, ImageAsset } from '../../assets.ts'
import type { ScratchDisks } from '../../disk/scratch.ts'
import { jailArguments, jailProgram } from '../../jail.ts'
import { jailPaths, type StatePaths, type VmPaths } from '../../paths.ts'
import type { Accelerator, Vm, VmDriver, VmImage, VmSpec } from '../driver.ts'
import { writeState } from '../state-file.ts'
import { translationCacheMib } from './args/accelerator.ts'
import { commandLine } from './args/command-line.ts'
import { Console } from './console.ts'
import { descriptors, JailedProcess } from './jailed-process.ts'
import { QemuMachine } from './machine.ts'
import { Qmp } from './qmp.ts'
import { connectWhenReady } from './socket.ts'

export interface QemuOptions {
  readonly assets: Assets
  readonly paths: StatePaths
  readonly disks: ScratchDisks
  readonly accelerator: Accelerator
  /** The name of this state folder, in every process's arguments. */
  readonly instance: string
  readonly bootId: string
  /** The user number of the machine in slot 0; undefined runs all as the runner's user. */
  readonly firstUid: number | undefined
  readonly tscKhz: number
}

const program = '/usr/bin/qemu-system-x86_64'
const startLimitMs = 15_000
/** What QEMU itself holds, without the guest's memory and translated code; measured. */
const ownMib = 48

export class QemuDriver implements VmDriver {
  readonly accelerator: Accelerator
  readonly images: ReadonlyMap<string, VmImage>
  readonly overheadMib: number
  readonly #options: QemuOptions

  constructor(options: QemuOptions) {
    this.#options = options
    this.accelerator = options.accelerator
    this.overheadMib = ownMib + (options.accelerator === 'tcg' ? translationCacheMib : 0)
    this.images = new Map(Object.entries(options.assets.images).map(([name, { env }]) => [name, { env }]))
  }

  async start(spec: VmSpec, callerSignal: AbortSignal): Promise<Vm> {
    const signal = deadline(startLimitMs, 'start the virtual machine', callerSignal)
    const cleanup = new Cleanup()
    let jailed: JailedProcess | undefined
    try {
      const image = this.#image(spec.image)
      const paths = this.#options.paths.vm(spec.id)
      const uid = await this.#makeFolder(spec, paths, cleanup)
      await this.#options.disks.create(spec.diskMib, paths.scratch, uid)
      signal.throwIfAborted()
      jailed = await this.#startProcess(spec, paths, image, uid, signal)
      cleanup.add('the process', () => jailed?.kill())
      signal.throwIfAborted()
      await this.#writeState(spec, paths, image, jailed)
      return await this.#connect(spec, paths, jailed, cleanup, signal)
    } catch (error) {
      await cleanup.run()
      throw explain(error, signal, jailed)
    }
  }

  #image(name: string): ImageAsset {
    const image = this.#options.assets.images[name]
    if (!image) throw new AppError('image_unknown', `cannot create the sandbox: there is no image ${name}`)
    return image
  }

  /** Makes the machine's folder; answers the user that owns its inner part. */
  async #makeFolder(spec: VmSpec, paths: VmPaths, cleanup: Cleanup): Promise<number | undefined> {
    const { firstUid } = this.#options
    const uid = firstUid === undefined ? undefined : firstUid + spec.slot
    await mkdir(paths.folder, { mode: 0o700 })
    cleanup.add('the folder', () => rm(paths.folder, { recursive: true, force: true }))
    await mkdir(paths.vm, { mode: 0o700 })
    if (uid !== undefined) await chown(paths.vm, uid, uid)
    return uid
  }

  async #startProcess(
    spec: VmSpec,
    paths: VmPaths,
    image: ImageAsset,
    uid: number | undefined,
    signal: AbortSignal,
  ): Promise<JailedProcess> {
    const { assets, accelerator, instance, tscKhz, disks } = this.#options
    const readOnly = {
      [jailPaths.kernel]: assets.kernel,
      [jailPaths.initramfs]: assets.initramfs,
      [jailPaths.image]: image.erofs,
      [jailPaths.base]: await disks.base(spec.diskMib),
    }
    const jail = { vmmRoot: assets.vmmRoot, vm: paths.vm, readOnly, uid, infoDescriptor: descriptors.info }
    const kvm = accelerator === 'kvm' ? await open('/dev/kvm', 'r+') : undefined
    try {
      const args = commandLine({
        name: processName(instance, spec.id),
        accelerator,
        ...(kvm ? { kvmDescriptor: descriptors.kvm } : {}),
        vcpus: spec.vcpus,
        memoryMib: spec.memoryMib,
        tscKhz,
      })
      const command = jailArguments(jail, [program, ...args])
      return await JailedProcess.start(jailProgram, command, { ...(kvm ? { kvm: kvm.fd } : {}), signal })
    } finally {
      await kvm?.close()
    }
  }

  async #writeState(spec: VmSpec, paths: VmPaths, image: ImageAsset, jailed: JailedProcess): Promise<void> {
    await writeState(paths.state, {
      schema: 1,
      id: spec.id,
      generation: spec.generation,
      slot: spec.slot,
      bootId: this.#options.bootId,
      qemu: jailed.identity,
      accelerator: this.accelerator,
      image: { name: spec.image, digest: image.digest },
      vcpus: spec.vcpus,
      memoryMib: spec.memoryMib,
      diskMib: spec.diskMib,
      startedAt: new Date().toISOString(),
    })
  }

  async #connect(
    spec: VmSpec,
    paths: VmPaths,
    jailed: JailedProcess,
    cleanup: Cleanup,
    callerSignal: AbortSignal,
  ): Promise<Vm> {
    const gone = new AbortController()
    void jailed.exited.then(() =>
      gone.abort(new AppError('boot_failed', 'cannot start the virtual machine: its process ended')),
    )
    const signal = AbortSignal.any([callerSignal, gone.signal])
    const control = await connectWhenReady(paths.qmp, signal)
    const machine = new QemuMachine({ id: spec.id, paths, jailed, cleanup })
    const qmp = await Qmp.open(control, { onEvent: (event) => machine.onEvent(event) })
    cleanup.add('the control socket', () => qmp.close())
    // A QEMU that breaks its own protocol is not to be trusted any further.
    void qmp.closed.then((error) => error && jailed.kill().catch(() => undefined))
    const console = new Console(await connectWhenReady(paths.console, signal))
    cleanup.add('the console', () => console.close())
    signal.throwIfAborted()
    await qmp.execute('cont')
    machine.attach(qmp, console)
    return machine
  }
}

/** The name in a process's arguments by which it is found again. */
export function processName(instance: string, id: string): string {
  return `${instance}.${id}`
}

/** The error of a failed start: the caller's own reason first, otherwise `boot_failed` with what QEMU printed as its cause. */
function explain(error: unknown, signal: AbortSignal, jailed: JailedProcess | undefined): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof AppError && error.code === 'image_unknown') return error
  const known = error instanceof AppError && error.code === 'boot_failed'
  const message = known ? error.message : 'cannot start the virtual machine: it does not answer'
  return new AppError('boot_failed', message, { cause: jailed?.errorText || error })
}
