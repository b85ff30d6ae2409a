/**
 * One QEMU. It owns the process, its sockets and its folder through the clean-up stack it was given, and tells once how the machine ended.
 *
 *   running ◀──pause, resume──▶ paused ──▶ ended (guest powered off | process died) ──▶ freed by stop()
 *      └───────────────────────────┴────────────────── stop() ────────────────────────────▶
 */

import type { Duplex } from 'node:stream'
import type { Cleanup } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { allocatedBytes } from '../../disk/scratch.ts'
import type { StatePaths, VmPaths } from '../../paths.ts'
import { Proc } from '../../process/proc.ts'
import type { CapturedDisk, CaptureOptions, DiskCaptureOptions, Vm, VmEnd, VmMetrics, VmSpec } from '../driver.ts'
import type { CapturedState, MachineShape, StateVersions } from '../machine-state.ts'
import { capture, captureDisk } from './capture.ts'
import type { Console } from './console.ts'
import type { DiskChain } from './disk-chain.ts'
import type { Qmp, QmpEvent } from './qmp.ts'
import { connectWhenReady } from './socket.ts'
import type { ProcessExit, VmProcess } from './vm-process.ts'

export interface QemuMachineOptions {
  readonly spec: VmSpec
  readonly paths: VmPaths
  readonly allPaths: StatePaths
  readonly process: VmProcess
  readonly cleanup: Cleanup
  readonly versions: StateVersions
  readonly shape: MachineShape
  /** Its memory is a file that only it uses. */
  readonly ownMemory: boolean
}

/** Its connections. */
export interface Controls {
  readonly qmp: Qmp
  readonly console: Console
  readonly chain: DiskChain
  readonly running: boolean
}

const writeAgainMs = 500

export class QemuMachine implements Vm {
  readonly id: string
  readonly spec: VmSpec
  readonly ended: Promise<VmEnd>
  readonly #options: QemuMachineOptions
  readonly #proc = new Proc()
  #controls: Controls | undefined
  #link: Duplex | undefined
  #running = false
  #stopping = false
  #gone = false
  #writingAgain: NodeJS.Timeout | undefined
  /** Why the guest's processors stopped for good, as QEMU told it. */
  #shutdown: string | undefined

  constructor(options: QemuMachineOptions) {
    this.#options = options
    this.id = options.spec.id
    this.spec = options.spec
    this.ended = options.process.exited.then((exit) => {
      this.#gone = true
      return this.#describe(exit)
    })
  }

  /** Its connections, once they stand. */
  attach(controls: Controls): void {
    this.#controls = controls
    this.#running = controls.running
  }

  onEvent(event: QmpEvent): void {
    if (event.name === 'SHUTDOWN') this.#shutdown = String(event.data.reason ?? 'unknown')
    if (event.name === 'BLOCK_IO_ERROR' && event.data.action === 'stop') this.#writeAgain()
    if (event.name === 'JOB_STATUS_CHANGE' && event.data.status === 'null')
      this.#controls?.chain.onJobOver(event.data.id)
  }

  async pause(): Promise<void> {
    if (!this.#running) return
    const { qmp } = this.#reach()
    // A command that gets no answer may still be carried out: from here on only `cont` makes sure that it runs.
    this.#running = false
    await qmp.execute('stop')
  }

  async resume(): Promise<void> {
    if (this.#running) return
    const { qmp, chain } = this.#reach()
    await qmp.execute('cont')
    this.#running = true
    chain.mergeIfDeep()
  }

  async capture(options: CaptureOptions): Promise<CapturedState> {
    const { qmp, chain } = this.#reach()
    const { paths, allPaths, process, versions, shape, ownMemory } = this.#options
    const { pid } = process.identity
    const pause = () => this.pause()
    return await capture({ pid, paths, allPaths, qmp, chain, versions, shape, ownMemory, pause }, options)
  }

  async captureDisk(options: DiskCaptureOptions): Promise<CapturedDisk> {
    const { chain } = this.#reach()
    const { allPaths, shape } = this.#options
    try {
      return await captureDisk({ allPaths, chain, shape }, options)
    } finally {
      if (this.#running && !this.#gone && !this.#stopping) chain.mergeIfDeep()
    }
  }

  async connect(signal: AbortSignal): Promise<Duplex> {
    if (this.#gone || this.#stopping) throw new AppError('guest_disconnected', 'cannot reach the guest: it has ended')
    this.#link = await connectWhenReady(this.#options.paths.agent, signal)
    return this.#link
  }

  async metrics(): Promise<VmMetrics | undefined> {
    const { identity } = this.#options.process
    const [stat, memory, diskBytes] = await Promise.all([
      this.#proc.stat(identity.pid),
      this.#proc.memory(identity.pid),
      this.#diskBytes(),
    ])
    if (stat?.startTicks !== identity.startTicks || !memory || diskBytes === undefined) return undefined
    const { currentBytes, peakBytes } = memory
    return { cpuMs: stat.cpuMs, memoryBytes: currentBytes, memoryPeakBytes: peakBytes, diskBytes }
  }

  console(): string {
    return this.#controls?.console.text() ?? ''
  }

  stop(): Promise<void> {
    this.#stopping = true
    this.#link?.destroy()
    return this.#options.cleanup.run()
  }

  /** Gives its connections up and leaves it as it is, for whoever takes it over. It is of no more use here. */
  letGo(): void {
    this.#stopping = true
    this.#controls?.qmp.close()
    this.#controls?.console.close()
    this.#link?.destroy()
  }

  /** Its guest stands still in the middle of a write, as the runner's disk is full. When it goes on it tries again. */
  #writeAgain(): void {
    this.#writingAgain ??= setTimeout(() => {
      this.#writingAgain = undefined
      if (this.#running && !this.#gone && !this.#stopping) this.#controls?.qmp.execute('cont').catch(() => undefined)
    }, writeAgainMs).unref()
  }

  /** What QEMU tells of it: whether it runs, where its processors stand, what was translated. For whoever finds out why a guest is silent. */
  async account(): Promise<string> {
    const { qmp } = this.#reach()
    const monitor = (line: string) => qmp.execute('human-monitor-command', { 'command-line': line }).catch(String)
    const parts = [JSON.stringify(await qmp.execute('query-status').catch(String))]
    for (const line of ['info registers', 'info lapic', 'info jit']) parts.push(String(await monitor(line)))
    return parts.join('\n')
  }

  /** What QEMU printed on standard error: for the log only. */
  get errorText(): string {
    return this.#options.process.errorText
  }

  #reach(): Controls {
    if (this.#controls && !this.#gone && !this.#stopping) return this.#controls
    throw new AppError('sandbox_failed', 'cannot control the virtual machine: it has ended')
  }

  /** What it wrote to its disk, in the layers that are its own. */
  async #diskBytes(): Promise<number | undefined> {
    const files = this.#controls?.chain.ownFiles() ?? []
    const sizes = await Promise.all(files.map(allocatedBytes))
    return sizes.reduce<number | undefined>(
      (sum, size) => (size === undefined || sum === undefined ? sum : sum + size),
      0,
    )
  }

  #describe(exit: ProcessExit): VmEnd {
    if (this.#stopping) return { kind: 'stopped', reason: 'it was stopped' }
    if (this.#shutdown !== undefined) return { kind: 'guest', reason: guestReason(this.#shutdown) }
    const how = exit.signal !== null ? ` by ${exit.signal}` : exit.code === null ? '' : ` with code ${exit.code}`
    return { kind: 'crashed', reason: `its virtual machine's process ended${how}` }
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
