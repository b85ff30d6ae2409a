/**
 * One running QEMU. It owns the process, its sockets and its folder through the clean-up stack it was given, and tells once how the machine ended.
 *
 *   running ──▶ ended (guest powered off | process died) ──▶ freed by stop()
 *      └───────────────────── stop() ─────────────────────────▶
 */

import type { Duplex } from 'node:stream'
import type { Cleanup } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { allocatedBytes } from '../../disk/scratch.ts'
import type { VmPaths } from '../../paths.ts'
import { Proc } from '../../process/proc.ts'
import type { Vm, VmEnd, VmMetrics } from '../driver.ts'
import type { Console } from './console.ts'
import type { JailedProcess, ProcessExit } from './jailed-process.ts'
import type { Qmp, QmpEvent } from './qmp.ts'
import { connectWhenReady } from './socket.ts'

export interface QemuMachineOptions {
  readonly id: string
  readonly paths: VmPaths
  readonly jailed: JailedProcess
  readonly cleanup: Cleanup
}

export class QemuMachine implements Vm {
  readonly id: string
  readonly ended: Promise<VmEnd>
  readonly #options: QemuMachineOptions
  readonly #proc = new Proc()
  #qmp: Qmp | undefined
  #console: Console | undefined
  #stopping = false
  #gone = false
  /** Why the guest's processors stopped for good, as QEMU told it. */
  #shutdown: string | undefined

  constructor(options: QemuMachineOptions) {
    this.#options = options
    this.id = options.id
    this.ended = options.jailed.exited.then((exit) => {
      this.#gone = true
      return this.#describe(exit)
    })
  }

  /** Its connections, once they stand. */
  attach(qmp: Qmp, console: Console): void {
    this.#qmp = qmp
    this.#console = console
  }

  onEvent(event: QmpEvent): void {
    if (event.name === 'SHUTDOWN') this.#shutdown = String(event.data.reason ?? 'unknown')
  }

  async connect(signal: AbortSignal): Promise<Duplex> {
    if (this.#gone || this.#stopping) throw new AppError('guest_disconnected', 'cannot reach the guest: it has ended')
    return await connectWhenReady(this.#options.paths.agent, signal)
  }

  async metrics(): Promise<VmMetrics | undefined> {
    const { jailed, paths } = this.#options
    const [stat, memory, diskBytes] = await Promise.all([
      this.#proc.stat(jailed.identity.pid),
      this.#proc.memory(jailed.identity.pid),
      allocatedBytes(paths.scratch),
    ])
    if (stat?.startTicks !== jailed.identity.startTicks || !memory || diskBytes === undefined) return undefined
    return { cpuMs: stat.cpuMs, memoryBytes: memory.currentBytes, memoryPeakBytes: memory.peakBytes, diskBytes }
  }

  console(): string {
    return this.#console?.text() ?? ''
  }

  stop(): Promise<void> {
    this.#stopping = true
    return this.#options.cleanup.run()
  }

  /** What QEMU printed on standard error: for the log only. */
  get errorText(): string {
    return this.#options.jailed.errorText
  }

  /** The control connection, for what needs more than start and stop. */
  get control(): Qmp | undefined {
    return this.#qmp
  }

  #describe(exit: ProcessExit): VmEnd {
    if (this.#stopping) return { kind: 'stopped', reason: 'it was stopped' }
    if (this.#shutdown !== undefined) return { kind: 'guest', reason: guestReason(this.#shutdown) }
    const how = exit.signal === null ? `with code ${exit.code}` : `by ${exit.signal}`
    return { kind: 'crashed', reason: `its virtual machine's process ended ${how}` }
  }
}

/** A panicking kernel is told to reboot at once, so a reset is one of the two. */
function guestReason(reason: string): string {
  switch (reason) {
    case 'guest-shutdown':
      return 'the guest powered off'
    case 'guest-reset':
      return 'the guest rebooted or its kernel panicked'
    case 'guest-panic':
      return 'the guest kernel panicked'
    default:
      return 'its virtual machine was shut down'
  }
}
