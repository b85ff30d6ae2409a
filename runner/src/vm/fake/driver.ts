import { AppError } from '@portico/shared/errors'
import type { Accelerator, Vm, VmDriver, VmImage, VmSpec } from '../driver.ts'
import type { GuestBehaviour } from './guest.ts'
import { FakeMachine } from './machine.ts'

export interface FakeDriverOptions {
  readonly images?: Readonly<Record<string, VmImage>>
  /** What the guest of the next machine does; asked at each start. */
  readonly behaviour?: (spec: VmSpec) => GuestBehaviour
}

const presets: Readonly<Record<string, VmImage>> = {
  python: { env: { LANG: 'C.UTF-8' } },
  node: { env: { LANG: 'C.UTF-8' } },
}

/** Starts fake machines, each with a guest of its own in this process. */
export class FakeDriver implements VmDriver {
  readonly accelerator: Accelerator = 'tcg'
  readonly overheadMib = 0
  readonly images: ReadonlyMap<string, VmImage>
  /** The machines that are not stopped yet, by id. */
  readonly machines = new Map<string, FakeMachine>()
  /** How many were started in all. */
  started = 0
  readonly #options: FakeDriverOptions

  constructor(options: FakeDriverOptions = {}) {
    this.#options = options
    this.images = new Map(Object.entries(options.images ?? presets))
  }

  async start(spec: VmSpec, signal: AbortSignal): Promise<Vm> {
    signal.throwIfAborted()
    if (!this.images.has(spec.image))
      throw new AppError('image_unknown', `cannot create the sandbox: there is no image ${spec.image}`)
    if (this.machines.has(spec.id)) throw new AppError('internal', 'cannot start the virtual machine: it exists')
    const machine = new FakeMachine(spec, this.#options.behaviour?.(spec) ?? {}, () => this.machines.delete(spec.id))
    this.machines.set(spec.id, machine)
    this.started++
    return machine
  }

  /** The machine of a sandbox; throws if there is none. */
  machine(id: string): FakeMachine {
    const machine = this.machines.get(id)
    if (!machine) throw new Error(`no machine ${id}`)
    return machine
  }
}
