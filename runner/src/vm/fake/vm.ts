/**
 * A runner's hold on a fake machine. `abandon()` is the end of that runner's process: the machine goes on, and nothing that this handle was asked for
 * or will be asked for ever comes to an end.
 */

import type { Duplex } from 'node:stream'
import type { CapturedDisk, CaptureOptions, DiskCaptureOptions, Vm, VmEnd, VmMetrics, VmSpec } from '../driver.ts'
import type { CapturedState } from '../machine-state.ts'
import type { FakeMachine } from './machine.ts'

/** Asked before a step of a machine: throws to make it fail, waits to make it slow. */
export type Trouble = (step: FakeStep, spec: VmSpec) => void | Promise<void>
export type FakeStep = 'boot' | 'restore' | 'connect' | 'pause' | 'resume' | 'capture' | 'capture-disk' | 'adopt'

export class FakeVm implements Vm {
  readonly id: string
  readonly spec: VmSpec
  readonly ended: Promise<VmEnd>
  readonly machine: FakeMachine
  readonly #trouble: Trouble
  #abandoned = false

  constructor(machine: FakeMachine, trouble: Trouble) {
    this.machine = machine
    this.id = machine.id
    this.spec = machine.spec
    this.#trouble = trouble
    this.ended = machine.ended.then((end) => (this.#abandoned ? never<VmEnd>() : end))
  }

  abandon(): void {
    this.#abandoned = true
    this.machine.cut()
  }

  connect(signal: AbortSignal): Promise<Duplex> {
    return this.#do('connect', () => this.machine.connect(signal))
  }

  pause(): Promise<void> {
    return this.#do('pause', () => this.machine.pause())
  }

  resume(): Promise<void> {
    return this.#do('resume', () => this.machine.resume())
  }

  capture(options: CaptureOptions): Promise<CapturedState> {
    return this.#do('capture', () => this.machine.capture(options))
  }

  captureDisk(options: DiskCaptureOptions): Promise<CapturedDisk> {
    return this.#do('capture-disk', () => this.machine.captureDisk(options))
  }

  async metrics(): Promise<VmMetrics | undefined> {
    return this.machine.alive ? this.machine.measured : undefined
  }

  console(): string {
    return this.machine.guest.behaviour.console ?? ''
  }

  async stop(): Promise<void> {
    if (!this.#abandoned) await this.machine.stop()
  }

  async #do<Value>(step: FakeStep, act: () => Value | Promise<Value>): Promise<Value> {
    if (this.#abandoned) return await never<Value>()
    await this.#trouble(step, this.spec)
    const value = await act()
    return this.#abandoned ? await never<Value>() : value
  }
}

function never<Value>(): Promise<Value> {
  return new Promise(() => undefined)
}
