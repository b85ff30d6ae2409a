/**
 * Starts machines on QEMU. Each resource is taken and its undo registered in the next line, so that a start that fails half-way leaves nothing:
 *
 *   folder ─▶ memory ─▶ disk ─▶ process in its jail ─▶ state.json ─▶ control socket ─▶ console ─▶ (pages, devices) ─▶ machine
 *
 * A cold boot has a memory file of its own and runs at the end; a restored machine maps another's and stands still.
 */

import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Cleanup, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { base32 } from '@portico/shared/ids'
import type { Assets } from '../../assets.ts'
import { diskFull, orNoRoom, roomIn } from '../../disk/full.ts'
import type { ScratchDisks } from '../../disk/scratch.ts'
import { jailArguments, jailProgram } from '../../jail.ts'
import { GuestMemory } from '../../memory/guest-memory.ts'
import { noPages, type PageSet, readEarly } from '../../memory/page-set.ts'
import { jailPaths, type StatePaths, type VmPaths } from '../../paths.ts'
import type { Accelerator, BootOptions, Vm, VmDriver, VmSpec } from '../driver.ts'
import { openImageFile } from '../image-file.ts'
import { type ImageFile, Images, type VmImage } from '../images.ts'
import type { DiskLayer, MachineShape, MachineState, StateVersions } from '../machine-state.ts'
import { writeState } from '../state-file.ts'
import { adopt } from './adopt.ts'
import { translationCacheMib } from './args/accelerator.ts'
import { commandLine, nodes } from './args/command-line.ts'
import { Console } from './console.ts'
import { StateLoad } from './device-state.ts'
import { DiskChain, type Layer, takeLayer } from './disk-chain.ts'
import { clearMachine, foundMachines } from './found.ts'
import { descriptors, JailedProcess } from './jailed-process.ts'
import { QemuMachine } from './machine.ts'
import { Qmp } from './qmp.ts'
import { connectWhenReady } from './socket.ts'

export interface QemuOptions {
  readonly assets: Assets
  readonly paths: StatePaths
  readonly disks: ScratchDisks
  readonly accelerator: Accelerator
  readonly versions: StateVersions
  /** The name of this state folder, in every process's arguments. */
  readonly instance: string
  readonly bootId: string
  /** The user number of the machine in slot 0; undefined runs all as the runner's user. */
  readonly firstUid: number | undefined
  readonly tscKhz: number
}

/** What a machine starts from: nothing, or another's state. */
type Origin =
  | { readonly start: 'boot'; readonly waits: boolean }
  | { readonly start: 'restore'; readonly state: MachineState }

type QemuImage = VmImage & ImageFile

const bootable = (file: ImageFile): QemuImage => ({ ...file, open: () => openImageFile(file.erofs) })

const program = '/usr/bin/qemu-system-x86_64'
const startLimitMs = 15_000
/** What QEMU itself holds, without the guest's memory and translated code; measured. */
const ownMib = 48

export class QemuDriver implements VmDriver {
  readonly accelerator: Accelerator
  readonly images: Images<QemuImage>
  readonly overheadMib: number
  readonly guest: VmDriver['guest']
  readonly versions: StateVersions
  readonly #options: QemuOptions
  readonly #machines = new Set<QemuMachine>()

  constructor(options: QemuOptions) {
    this.#options = options
    this.accelerator = options.accelerator
    this.versions = options.versions
    this.guest = { kernel: options.assets.kernelVersion, agent: options.assets.agentVersion }
    this.overheadMib = ownMib + (options.accelerator === 'tcg' ? translationCacheMib : 0)
    const presets = Object.entries(options.assets.images)
    this.images = new Images(
      presets.map(([name, asset]) => [name, bootable(asset)] as const),
      bootable,
    )
  }

  async boot(spec: VmSpec, signal: AbortSignal, { waits = false }: BootOptions = {}): Promise<Vm> {
    const machine = await this.#start(spec, { start: 'boot', waits }, signal)
    try {
      await machine.resume()
      return machine
    } catch (error) {
      await machine.stop()
      throw error
    }
  }

  restore(spec: VmSpec, state: MachineState, signal: AbortSignal): Promise<Vm> {
    return this.#start(spec, { start: 'restore', state }, signal)
  }

  async found(): Promise<readonly string[]> {
    return await foundMachines(this.#options)
  }

  async adopt(id: string, signal: AbortSignal): Promise<Vm | undefined> {
    try {
      return this.#keep(await adopt(id, this.#options, signal))
    } catch {
      await clearMachine(id, this.#options)
      return undefined
    }
  }

  /** Leaves all machines as they are, as the end of this process would. */
  letGo(): void {
    for (const machine of this.#machines) machine.letGo()
    this.#machines.clear()
  }

  #keep(machine: QemuMachine): QemuMachine {
    this.#machines.add(machine)
    void machine.ended.then(() => this.#machines.delete(machine))
    return machine
  }

  async #start(spec: VmSpec, origin: Origin, callerSignal: AbortSignal): Promise<QemuMachine> {
    callerSignal.throwIfAborted()
    const signal = deadline(startLimitMs, 'start the virtual machine', callerSignal)
    const cleanup = new Cleanup()
    // The disk is slower than a process is started.
    const pages = readEarly(origin.start === 'restore' ? origin.state.pages : noPages)
    let jailed: JailedProcess | undefined
    try {
      const image = this.#image(spec.image)
      const shape = this.#shape(spec, image)
      const paths = this.#options.paths.vm(spec.id)
      const uid = await this.#makeFolder(spec, paths, cleanup)
      const layers = await this.#makeMedia(spec, origin, paths, uid)
      signal.throwIfAborted()
      jailed = await this.#startProcess(spec, origin, paths, image, layers, uid, signal)
      cleanup.add('the process', () => jailed?.kill())
      signal.throwIfAborted()
      await this.#writeState(spec, shape, paths, jailed)
      return this.#keep(await this.#connect(spec, origin, pages, shape, paths, layers, uid, jailed, cleanup, signal))
    } catch (thrown) {
      const error = await orNoRoom(thrown, 'start the sandbox', this.#options.paths.root)
      await cleanup.run()
      throw explain(error, signal, jailed)
    } finally {
      await pages.end()
      signal[Symbol.dispose]()
    }
  }

  #image(name: string): QemuImage {
    const image = this.images.get(name)
    if (!image) throw new AppError('image_unknown', `cannot create the sandbox: there is no image ${name}`)
    return image
  }

  #shape(spec: VmSpec, image: QemuImage): MachineShape {
    const { vcpus, memoryMib, diskMib } = spec
    const { kernel, agent } = this.guest
    return { image: { name: spec.image, digest: image.digest }, kernel, agent, vcpus, memoryMib, diskMib }
  }

  /** Makes the machine's folder; answers the user that owns its inner part. */
  async #makeFolder(spec: VmSpec, paths: VmPaths, cleanup: Cleanup): Promise<number | undefined> {
    const { firstUid } = this.#options
    const uid = firstUid === undefined ? undefined : firstUid + spec.slot
    await mkdir(paths.folder, { mode: 0o700 })
    cleanup.add('the folder', () => rm(paths.folder, { recursive: true, force: true }))
    await mkdir(paths.layers, { mode: 0o700 })
    await mkdir(paths.vm, { mode: 0o700 })
    if (uid !== undefined) await chown(paths.vm, uid, uid)
    return uid
  }

  /** Memory and disk; answers the disk's layers below its own. */
  async #makeMedia(spec: VmSpec, origin: Origin, paths: VmPaths, uid: number | undefined): Promise<Layer[]> {
    const { disks } = this.#options
    const given: Pick<DiskLayer, 'file' | 'format'>[] =
      origin.start === 'boot' ? [{ file: await disks.base(spec.diskMib), format: 'raw' }] : [...origin.state.layers]
    if (origin.start === 'boot') await makeMemory(paths.base, spec.memoryMib, uid)
    else {
      await takeLayer(origin.state.base.file, paths.base)
      await takeLayer(origin.state.device.file, paths.incoming)
    }
    const sizeMib = origin.start === 'boot' ? spec.diskMib : origin.state.shape.diskMib
    const [layers] = await Promise.all([
      Promise.all(given.map(({ file, format }, number) => this.#takeLayer(paths, file, format, number))),
      disks.create(sizeMib, paths.disk(0), uid),
    ])
    return layers
  }

  async #takeLayer(paths: VmPaths, file: string, format: 'raw' | 'qcow2', number: number): Promise<Layer> {
    const name = String(number)
    await takeLayer(file, paths.layer(name))
    return { node: nodes.layer(number), name, format }
  }

  async #startProcess(
    spec: VmSpec,
    origin: Origin,
    paths: VmPaths,
    image: QemuImage,
    layers: readonly Layer[],
    uid: number | undefined,
    signal: AbortSignal,
  ): Promise<JailedProcess> {
    const { assets, accelerator, instance, tscKhz } = this.#options
    const readOnly = {
      [jailPaths.kernel]: assets.kernel,
      [jailPaths.initramfs]: assets.initramfs,
      [jailPaths.image]: image.erofs,
      ...Object.fromEntries(layers.map(({ name }) => [jailPaths.layer(name), paths.layer(name)])),
      ...(origin.start === 'restore' ? { [jailPaths.memory]: paths.base, [jailPaths.incoming]: paths.incoming } : {}),
    }
    const writable = origin.start === 'boot' ? { [jailPaths.memory]: paths.base } : {}
    const jail = { vmmRoot: assets.vmmRoot, vm: paths.vm, readOnly, writable, uid, infoDescriptor: descriptors.info }
    const kvm = accelerator === 'kvm' ? await open('/dev/kvm', 'r+') : undefined
    try {
      const args = commandLine({
        name: processName(instance, spec.id),
        accelerator,
        ...(kvm ? { kvmDescriptor: descriptors.kvm } : {}),
        vcpus: spec.vcpus,
        memoryMib: spec.memoryMib,
        tscKhz,
        start: origin.start,
        waits: origin.start === 'boot' && origin.waits,
        layers: layers.map(({ format }) => format),
      })
      const command = jailArguments(jail, [program, ...args])
      return await JailedProcess.start(jailProgram, command, { ...(kvm ? { kvm: kvm.fd } : {}), signal })
    } finally {
      await kvm?.close()
    }
  }

  async #writeState(spec: VmSpec, shape: MachineShape, paths: VmPaths, jailed: JailedProcess): Promise<void> {
    await writeState(paths.state, {
      schema: 2,
      id: spec.id,
      slot: spec.slot,
      bootId: this.#options.bootId,
      qemu: jailed.identity,
      versions: this.versions,
      shape,
      startedAt: new Date().toISOString(),
    })
  }

  async #connect(
    spec: VmSpec,
    origin: Origin,
    pages: PageSet,
    shape: MachineShape,
    paths: VmPaths,
    below: readonly Layer[],
    uid: number | undefined,
    jailed: JailedProcess,
    cleanup: Cleanup,
    callerSignal: AbortSignal,
  ): Promise<QemuMachine> {
    const gone = new AbortController()
    void jailed.exited.then(() =>
      gone.abort(new AppError('boot_failed', 'cannot start the virtual machine: its process ended')),
    )
    const signal = AbortSignal.any([callerSignal, gone.signal])
    const control = await connectWhenReady(paths.qmp, signal)
    const ownMemory = origin.start === 'boot'
    const { versions } = this
    const allPaths = this.#options.paths
    const machine = new QemuMachine({ spec, paths, allPaths, process: jailed, cleanup, versions, shape, ownMemory })
    const load = new StateLoad()
    const onEvent = (event: { name: string; data: Readonly<Record<string, unknown>> }) => {
      load.onEvent(event.name, event.data)
      machine.onEvent(event)
    }
    const qmp = await Qmp.open(control, { onEvent })
    cleanup.add('the control socket', () => qmp.close())
    // A QEMU that breaks its own protocol is not to be trusted any further.
    void qmp.closed.then((error) => error && jailed.kill().catch(() => undefined))
    const console = new Console(await connectWhenReady(paths.console, signal))
    cleanup.add('the console', () => console.close())
    if (origin.start === 'restore') await this.#load(spec, origin.state, pages, paths, qmp, load, jailed, signal)
    signal.throwIfAborted()
    const create = (file: string) => this.#options.disks.create(spec.diskMib, file, uid)
    const chain = new DiskChain({ qmp, paths, uid, below, top: 0, create })
    machine.attach({ qmp, console, chain, running: false })
    return machine
  }

  /** Memory first: loading the devices reads from it. */
  async #load(
    spec: VmSpec,
    state: MachineState,
    pages: PageSet,
    paths: VmPaths,
    qmp: Qmp,
    load: StateLoad,
    jailed: JailedProcess,
    signal: AbortSignal,
  ): Promise<void> {
    if (pages.runs.length > 0) {
      const memory = await GuestMemory.open(jailed.identity.pid, paths.base, 'write')
      try {
        await memory.write(pages, signal)
      } finally {
        memory.close()
      }
    }
    await load.run(qmp, signal)
    // As they are in a machine that was paused: they would wait for it to run otherwise.
    await qmp.execute('blockdev-set-active', { active: true })
    if (spec.diskMib > state.shape.diskMib)
      await qmp.execute('block_resize', { 'node-name': nodes.disk(0), size: spec.diskMib * 2 ** 20 })
  }
}

/** A memory file of its own. Nothing in it takes room until it is written, but a machine that finds none left then ends without a word. */
async function makeMemory(file: string, sizeMib: number, uid: number | undefined): Promise<void> {
  if ((await roomIn(dirname(file))) < sizeMib * 2 ** 20) throw diskFull('start the sandbox')
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.truncate(sizeMib * 2 ** 20)
  } finally {
    await handle.close()
  }
  await chmod(file, 0o600)
  if (uid !== undefined) await chown(file, uid, uid)
}

/** The name in a process's arguments by which it is found again. */
export function processName(instance: string, id: string): string {
  return `${instance}.${id}`
}

/** A machine's own name, never used twice. */
export function newMachineId(): string {
  return `vm${base32(randomBytes(10))}`
}

/** The error of a failed start: the caller's own reason first, otherwise `boot_failed` with what QEMU printed as its cause. */
function explain(error: unknown, signal: AbortSignal, jailed: JailedProcess | undefined): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof AppError && told.has(error.code)) return error
  const known = error instanceof AppError && error.code === 'boot_failed'
  const message = known ? error.message : 'cannot start the virtual machine: it does not answer'
  return new AppError('boot_failed', message, { cause: jailed?.errorText || error })
}

const told = new Set(['image_unknown', 'snapshot_damaged', 'capacity'])
