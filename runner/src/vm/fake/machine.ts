/**
 * A machine in this process. Its guest speaks the real protocol over a port. It outlives the handles through which a runner uses it, as a real machine's
 * process outlives the runner's:
 *
 *   running ◀──▶ paused ──▶ ended (by itself) ──▶ stopped (free)
 */

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { AppError } from '@portico/shared/errors'
import type { CapturedDisk, CaptureOptions, DiskCaptureOptions, VmEnd, VmMetrics, VmSpec } from '../driver.ts'
import type { CapturedState, MachineShape, StateVersions } from '../machine-state.ts'
import { FakeGuest, type GuestBehaviour } from './guest.ts'
import { Gate, openPort } from './port.ts'
import { type GuestContents, writeFakeDisk, writeFakeState } from './state.ts'

export interface FakeMachineParts {
  readonly spec: VmSpec
  readonly behaviour: GuestBehaviour
  readonly versions: StateVersions
  readonly shape: MachineShape
  /** Where the states that are captured of it are put. */
  readonly captures: string | undefined
  /** What it was restored from; such a machine begins paused. */
  readonly restored?: { readonly contents: GuestContents; readonly folder: string; readonly base: string }
  /** It was booted without a look at its disk. */
  readonly waits?: boolean
  readonly onStopped: () => void
}

export class FakeMachine {
  readonly id: string
  readonly spec: VmSpec
  readonly ended: Promise<VmEnd>
  readonly guest: FakeGuest
  /** What `metrics()` answers. */
  measured: VmMetrics | undefined = { cpuMs: 10, memoryBytes: 2 ** 20, memoryPeakBytes: 2 ** 21, diskBytes: 4096 }
  /** How often it was captured. */
  captured = 0
  readonly #parts: FakeMachineParts
  readonly #end: (end: VmEnd) => void
  readonly #gate = new Gate()
  #state: 'alive' | 'ended' | 'stopped' = 'alive'
  #link: Duplex | undefined
  #freed: Promise<void> | undefined

  constructor(parts: FakeMachineParts) {
    this.#parts = parts
    this.id = parts.spec.id
    this.spec = parts.spec
    const { promise, resolve } = Promise.withResolvers<VmEnd>()
    this.ended = promise
    this.#end = resolve
    const powerOff = () => this.die({ kind: 'guest', reason: 'the guest powered off' })
    this.guest = new FakeGuest(
      parts.behaviour,
      powerOff,
      parts.restored?.contents ?? { files: {}, memory: '', waits: parts.waits ?? false },
    )
    if (parts.restored) this.#gate.shut()
  }

  get alive(): boolean {
    return this.#state === 'alive'
  }

  get paused(): boolean {
    return !this.#gate.open
  }

  connect(signal: AbortSignal): Duplex {
    signal.throwIfAborted()
    if (!this.alive) throw new AppError('guest_disconnected', 'cannot reach the guest: it has ended')
    const [ours, theirs] = openPort(this.#gate)
    this.#link = ours
    this.#gate.pass(() => this.guest.attach(theirs))
    return ours
  }

  pause(): void {
    this.#check('pause')
    this.#gate.shut()
  }

  resume(): void {
    this.#check('resume')
    this.#gate.unlock()
  }

  async capture({ pages, signal }: CaptureOptions): Promise<CapturedState> {
    this.#check('capture')
    signal.throwIfAborted()
    const pausedAt = performance.now()
    this.#gate.shut()
    this.captured++
    const { versions, shape, captures, restored } = this.#parts
    const contents = this.guest.contents()
    const machine = this.id
    const options = { folder: captures, machine, base: restored?.base, versions, shape, contents, pages }
    return { ...(await writeFakeState(options)), pausedAt }
  }

  async captureDisk({ folder, still, signal }: DiskCaptureOptions): Promise<CapturedDisk> {
    this.#check('capture')
    signal.throwIfAborted()
    let files: GuestContents['files'] = {}
    await still(async () => {
      files = this.guest.contents().files
    })
    signal.throwIfAborted()
    const layer = await writeFakeDisk(join(folder, 'layer-0'), files)
    return { shape: this.#parts.shape, layers: [layer], shared: 0 }
  }

  async stop(): Promise<void> {
    this.#finish({ kind: 'stopped', reason: 'it was stopped' })
    this.#state = 'stopped'
    this.#freed ??= this.#free()
    await this.#freed
  }

  /** Ends it as if its process had. */
  die(end: VmEnd = { kind: 'crashed', reason: "its virtual machine's process ended by signal 9" }): void {
    if (!this.alive) return
    this.#state = 'ended'
    this.#finish(end)
  }

  /** Breaks the link to its guest; the guest goes on. */
  cut(): void {
    this.#link?.destroy()
  }

  async #free(): Promise<void> {
    const { restored, onStopped } = this.#parts
    if (restored) await rm(restored.folder, { recursive: true, force: true })
    onStopped()
  }

  #check(what: string): void {
    if (!this.alive) throw new AppError('sandbox_failed', `cannot ${what} the virtual machine: it has ended`)
  }

  #finish(end: VmEnd): void {
    this.#end(end)
    this.guest.stop()
    this.#gate.unlock()
    this.#link?.destroy()
  }
}
