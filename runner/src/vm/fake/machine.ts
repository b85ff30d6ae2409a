import { type Duplex, duplexPair } from 'node:stream'
import { AppError } from '@portico/shared/errors'
import type { Vm, VmEnd, VmMetrics, VmSpec } from '../driver.ts'
import { FakeGuest, type GuestBehaviour } from './guest.ts'

/** A machine in this process. Its guest speaks the real protocol over a pair of streams. */
export class FakeMachine implements Vm {
  readonly id: string
  readonly ended: Promise<VmEnd>
  readonly guest: FakeGuest
  /** What `metrics()` answers. */
  measured: VmMetrics | undefined = { cpuMs: 10, memoryBytes: 2 ** 20, memoryPeakBytes: 2 ** 21, diskBytes: 4096 }
  readonly #end: (end: VmEnd) => void
  readonly #onStopped: () => void
  #state: 'running' | 'ended' | 'stopped' = 'running'
  #link: Duplex | undefined

  constructor(spec: VmSpec, behaviour: GuestBehaviour, onStopped: () => void) {
    this.id = spec.id
    const { promise, resolve } = Promise.withResolvers<VmEnd>()
    this.ended = promise
    this.#end = resolve
    this.#onStopped = onStopped
    this.guest = new FakeGuest(behaviour, () => this.die({ kind: 'guest', reason: 'the guest powered off' }))
  }

  async connect(signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    if (this.#state !== 'running') throw new AppError('guest_disconnected', 'cannot reach the guest: it has ended')
    const [ours, theirs] = duplexPair({ highWaterMark: 64 * 1024 })
    this.#link = ours
    this.guest.attach(theirs)
    return ours
  }

  async metrics(): Promise<VmMetrics | undefined> {
    return this.#state === 'running' ? this.measured : undefined
  }

  console(): string {
    return this.guest.behaviour.console ?? ''
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    this.#finish({ kind: 'stopped', reason: 'it was stopped' })
    this.#state = 'stopped'
    this.#onStopped()
  }

  /** Ends it as if its process had. */
  die(end: VmEnd = { kind: 'crashed', reason: "its virtual machine's process ended by signal 9" }): void {
    if (this.#state !== 'running') return
    this.#state = 'ended'
    this.#finish(end)
  }

  /** Breaks the link to its guest; the guest goes on. */
  cut(): void {
    this.#link?.destroy()
  }

  #finish(end: VmEnd): void {
    this.guest.stop()
    this.#link?.destroy()
    this.#end(end)
  }
}
