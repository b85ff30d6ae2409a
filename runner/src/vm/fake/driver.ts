import { link, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { AppError } from '@portico/shared/errors'
import type { Accelerator, BootOptions, Vm, VmDriver, VmImage, VmSpec } from '../driver.ts'
import { type ImageFile, Images } from '../images.ts'
import type { MachineShape, MachineState, StateVersions } from '../machine-state.ts'
import type { FakeGuest, GuestBehaviour } from './guest.ts'
import { FakeMachine, type FakeMachineParts } from './machine.ts'
import { readFakeState, temporaryFolder } from './state.ts'
import { FakeVm, type Trouble } from './vm.ts'

type FakeImage = Pick<VmImage, 'digest' | 'env'> & Partial<Omit<VmImage, 'open'>>

export interface FakeDriverOptions {
  readonly images?: Readonly<Record<string, FakeImage>>
  /** What the guest of the next machine does; asked at each start, cold or from a state. */
  readonly behaviour?: (spec: VmSpec, how: 'boot' | 'restore') => GuestBehaviour
  /** Asked before each step of each machine. */
  readonly trouble?: Trouble
  /** Where captured states are kept; the host's folder for temporary files otherwise. */
  readonly folder?: string
  readonly versions?: StateVersions
  readonly guest?: VmDriver['guest']
}

const presets: Readonly<Record<string, FakeImage>> = {
  python: { digest: 'sha256:python', env: { LANG: 'C.UTF-8' } },
  node: { digest: 'sha256:node', env: { LANG: 'C.UTF-8' } },
}

/** An image whose content is some bytes that are its own. */
function whole(image: FakeImage): VmImage {
  const bytes = Buffer.alloc(300_000, image.digest)
  return { workdir: '/', ...image, open: async () => ({ size: bytes.length, content: Readable.from([bytes]) }) }
}

/** One of a file, which no fake machine looks into. */
const ofFile = ({ erofs: _erofs, ...image }: ImageFile): VmImage => whole(image)

/**
 * Starts fake machines, each with a guest of its own in this process. The driver is the host, not the runner: given to another engine, it is what that
 * one finds after the first one's process died.
 */
export class FakeDriver implements VmDriver {
  readonly accelerator: Accelerator = 'tcg'
  readonly overheadMib = 0
  readonly images: Images<VmImage>
  readonly versions: StateVersions
  readonly guest: VmDriver['guest']
  /** The machines that are not stopped yet, by id. */
  readonly machines = new Map<string, FakeMachine>()
  /** How many were started in all, cold or from a state. */
  started = 0
  /** How many of them cold. */
  booted = 0
  readonly #options: FakeDriverOptions
  /** Guests of machines that are gone whose session was paused, by machine. */
  readonly #paused = new Map<string, FakeGuest>()
  #handles: FakeVm[] = []

  constructor(options: FakeDriverOptions = {}) {
    this.#options = options
    const all = Object.entries(options.images ?? presets)
    this.images = new Images(
      all.map(([name, image]) => [name, whole(image)] as const),
      ofFile,
    )
    this.versions = options.versions ?? { accelerator: 'tcg', qemu: 'fake-1', cpu: 'fake' }
    this.guest = options.guest ?? { kernel: 'fake-kernel', agent: 'fake-agent' }
  }

  async boot(spec: VmSpec, signal: AbortSignal, { waits = false }: BootOptions = {}): Promise<Vm> {
    signal.throwIfAborted()
    await this.#trouble('boot', spec)
    signal.throwIfAborted()
    const image = this.images.get(spec.image)
    if (!image) throw new AppError('image_unknown', `cannot create the sandbox: there is no image ${spec.image}`)
    const { vcpus, memoryMib, diskMib } = spec
    const shape = { image: { name: spec.image, digest: image.digest }, ...this.guest, vcpus, memoryMib, diskMib }
    this.booted++
    return this.#add(spec, 'boot', shape, { waits })
  }

  async restore(spec: VmSpec, state: MachineState, signal: AbortSignal): Promise<Vm> {
    signal.throwIfAborted()
    await this.#trouble('restore', spec)
    const { contents, machine: former } = await readFakeState(state)
    const folder = await temporaryFolder(this.#options.folder)
    try {
      const base = join(folder, 'base')
      await link(state.base.file, base)
      signal.throwIfAborted()
      const vm = this.#add(
        spec,
        'restore',
        { ...state.shape, image: this.#imageOf(spec, state), diskMib: spec.diskMib },
        {
          restored: { contents, folder, base },
        },
      )
      this.#goOn(former, this.machine(spec.id))
      return vm
    } catch (error) {
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  async found(): Promise<readonly string[]> {
    this.abandon()
    return [...this.machines.keys()]
  }

  async adopt(id: string, signal: AbortSignal): Promise<Vm | undefined> {
    signal.throwIfAborted()
    const machine = this.machines.get(id)
    if (!machine) return undefined
    await this.#trouble('adopt', machine.spec)
    if (machine.alive) return this.#handle(machine)
    await machine.stop()
    return undefined
  }

  /** The end of the process that used the driver up to now: its machines go on, what it holds of them is dead. */
  abandon(): void {
    for (const handle of this.#handles) handle.abandon()
    this.#handles = []
  }

  /** The machine of this name; throws if there is none. */
  machine(id: string): FakeMachine {
    const machine = this.machines.get(id)
    if (!machine) throw new Error(`no machine ${id}`)
    return machine
  }

  /** A state of one image goes on in a machine of another with the same content. */
  #imageOf({ image: name }: VmSpec, { shape }: MachineState): MachineShape['image'] {
    return { name, digest: this.images.get(name)?.digest ?? shape.image.digest }
  }

  #add(
    spec: VmSpec,
    how: 'boot' | 'restore',
    shape: MachineShape,
    from: Pick<FakeMachineParts, 'restored' | 'waits'>,
  ): Vm {
    if (this.machines.has(spec.id)) throw new AppError('internal', 'cannot start the virtual machine: it exists')
    const machine: FakeMachine = new FakeMachine({
      spec,
      behaviour: this.#options.behaviour?.(spec, how) ?? {},
      versions: this.versions,
      shape,
      captures: this.#options.folder,
      ...from,
      onStopped: () => this.#stopped(machine),
    })
    this.machines.set(spec.id, machine)
    this.started++
    return this.#handle(machine)
  }

  /** A session that was paused when the machine was captured goes on here, unless the machine itself still may. */
  #goOn(former: string, machine: FakeMachine): void {
    const guest = this.#paused.get(former)
    if (!guest) return
    this.#paused.delete(former)
    machine.guest.takeOver(guest)
  }

  #stopped(machine: FakeMachine): void {
    this.machines.delete(machine.id)
    if (machine.guest.holds) this.#paused.set(machine.id, machine.guest)
  }

  #handle(machine: FakeMachine): Vm {
    const handle = new FakeVm(machine, (step, spec) => this.#trouble(step, spec))
    this.#handles.push(handle)
    return handle
  }

  async #trouble(...asked: Parameters<Trouble>): Promise<void> {
    await this.#options.trouble?.(...asked)
  }
}
