/**
 * Everything of a runner but its tunnel: sandboxes on this host, by function call. The daemon puts the tunnel in front of it; tests and benchmarks
 * use it as it is. It chooses what runs the machines and owns all of it: `close()` leaves nothing on the host but what is hibernated and saved. Where
 * its process is killed, machines run on, and the next engine on the same state folder takes them over.
 */

import { mkdir } from 'node:fs/promises'
import { availableParallelism, loadavg } from 'node:os'
import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '@portico/shared/clock'
import type { RunnerPolicy, SandboxSpec } from '@portico/shared/control'
import type { Usage } from '@portico/shared/usage'
import { Capacity } from './capacity.ts'
import type { CheckpointAsked, CheckpointListed, CheckpointMade } from './checkpoint/checkpoints.ts'
import { type EngineConfig, engineConfig, parseConfig, poolSizeOf } from './config.ts'
import { type ContainerImage, ContainerImages } from './container-image/images.ts'
import type { GuestRequest, GuestResponse } from './guest/http.ts'
import { createLog, type Logger, logged } from './log.ts'
import { type StatePaths, statePaths } from './paths.ts'
import type { HostImages, Store } from './policy/host-images.ts'
import { type OpenedImages, openHostImages } from './policy/open.ts'
import { roomOf } from './policy/room.ts'
import { MachineSource } from './pool/source.ts'
import type { Borrowed } from './port/pool.ts'
import { BootGate } from './sandbox/boot-gate.ts'
import type { BorrowOptions } from './sandbox/guest-calls.ts'
import { type BootLimits, bootLimits } from './sandbox/phases.ts'
import { type Child, type Forked, type Listed, Registry } from './sandbox/registry.ts'
import type { Created, StateChange } from './sandbox/requests.ts'
import { Snapshots } from './sandbox/snapshots.ts'
import type { OnStep } from './sandbox/steps.ts'
import type { Reverted } from './sandbox/work.ts'
import { restart } from './startup/restart.ts'
import { Templates } from './template/templates.ts'
import type { Accelerator, VmDriver } from './vm/driver.ts'
import { openQemu } from './vm/qemu/open.ts'

export type { GuestRequest, GuestResponse } from './guest/http.ts'
export type { Borrowed } from './port/pool.ts'
export type { Child, Forked } from './sandbox/registry.ts'
export type { Created, StateChange } from './sandbox/requests.ts'
export { engineSteps, forkSteps, hibernateSteps, resumeSteps, revertSteps, snapshotSteps } from './sandbox/steps.ts'

/** What tests replace. */
export interface EngineParts {
  /** Runs the machines instead of QEMU; it is the caller's. */
  readonly driver?: VmDriver
  /** Where images of registries are instead of the state folder; it is closed with the engine. */
  readonly imageStore?: Store
  readonly clock?: Clock
  readonly log?: Logger
  readonly limits?: BootLimits
  /** Called at each of `engineSteps`; what it waits for, the step waits for. */
  readonly onStep?: OnStep
}

/** What a runner can still take. */
export interface EngineStatus {
  readonly accelerator: Accelerator
  readonly draining: boolean
  readonly vcpus: number
  readonly totalMemoryMib: number
  readonly freeVcpus: number
  /** Of the host in the last minute, per core. */
  readonly load: number
  /** Machines that stand ready, by each name of their image. */
  readonly warm: Readonly<Record<string, number>>
  /** The same, each once: by its preset or key of `custom_images`, or as `other`. */
  readonly ready: Readonly<Record<string, number>>
  readonly freeMemoryMib: number
  readonly freeSlots: number
  readonly images: readonly string[]
  readonly policy: RunnerPolicy | undefined
  readonly sandboxes: readonly Listed[]
}

export interface Engine {
  /** Those that this host can boot. */
  readonly images: Pick<HostImages, 'mustBePullable' | 'pull' | 'list' | 'remove' | 'figures'>
  /** Boots a sandbox; resolves when it may be used. Repeated with the same id and generation: the same answer. */
  create(id: string, generation: number, spec: SandboxSpec): Promise<Created>
  /** One HTTP request to the sandbox's agent. */
  request(id: string, generation: number, asked: GuestRequest): Promise<GuestResponse>
  /**
   * A connection to what listens on a port in the sandbox, on 127.0.0.1 or ::1 too; the signal ends the attempt alone. Counts as activity until it is
   * closed. Rejects with `port_closed` if nothing listens.
   */
  connect(id: string, generation: number, port: number, options: { readonly signal: AbortSignal }): Promise<Duplex>
  /** The same, lent for one HTTP request: unless it must be `fresh` it may be one that has carried a request before. */
  borrow(id: string, generation: number, port: number, options: BorrowOptions): Promise<Borrowed>
  update(id: string, generation: number, idleSeconds: number): Promise<void>
  /** Frees a sandbox; repeated: the same final usage. */
  destroy(id: string, generation: number): Promise<Usage>
  stats(id: string, generation: number): Promise<Usage>
  /** Children in the sandbox's state of this moment, while it runs on. Repeated with the same children: the same answer. */
  fork(id: string, generation: number, children: readonly Child[]): Promise<Forked>
  /** Keeps the sandbox's state of this moment, while it runs on, until it is deleted. Repeated: the same answer. */
  snapshot(id: string, generation: number, snapshot: string): Promise<{ sizeBytes: number }>
  /** A sandbox in the state of a snapshot, whose machine `spec` must be. Repeated with the same id and generation: the same answer. */
  restore(id: string, generation: number, snapshot: string, spec: SandboxSpec): Promise<Created>
  /** Repeating it does nothing. */
  deleteSnapshot(snapshot: string): Promise<void>
  /** Keeps the sandbox's files of this moment beside it, while it runs on. With `wait` they are on the disk for good then. Repeated: the same answer. */
  checkpoint(
    id: string,
    generation: number,
    asked: CheckpointAsked & { readonly wait: boolean },
  ): Promise<CheckpointMade>
  /** Oldest first; of a hibernated sandbox, too. */
  checkpoints(id: string, generation: number): Promise<readonly CheckpointListed[]>
  /** Resolves when it is on the disk for good. */
  waitForCheckpoint(id: string, generation: number, checkpoint: string): Promise<{ sizeBytes: number }>
  /** Puts the files of a checkpoint back, in another machine; when it rejects the sandbox is as it was before. Repeated meanwhile: the same answer. */
  restoreCheckpoint(id: string, generation: number, checkpoint: string): Promise<Reverted>
  /** Repeating it does nothing. */
  deleteCheckpoint(id: string, generation: number, checkpoint: string): Promise<void>
  /** Brings an image into the sandbox for its container services. Repeated: the same answer. */
  bringImage(id: string, generation: number, image: string, signal?: AbortSignal): Promise<ContainerImage>
  /** Keeps the sandbox on disk and frees its machine; resolves with its usage so far. Repeating it does nothing. */
  hibernate(id: string, generation: number): Promise<Usage>
  /** Lets a hibernated sandbox go on. Repeating it does nothing. */
  resume(id: string, generation: number): Promise<{ resumeMs: number }>
  /** Resolved names of what sandboxes and snapshots are made of; some more than once. */
  imagesInUse(): Iterable<string>
  status(): EngineStatus
  /** Calls `listener` at every change of a sandbox's state; the answer ends that. */
  onChange(listener: (change: StateChange) => void): () => void
  /** Calls `listener` when another number of machines stands ready; the answer ends that. */
  onWarm(listener: () => void): () => void
  /** From now on nothing is created. */
  drain(): void
  /** Destroys all sandboxes that are not hibernated and gives everything back. Safe to repeat. */
  close(): Promise<void>
}

/** Opens an engine, or throws having freed all. `config` is checked here. */
export async function openEngine(config: object, parts: EngineParts = {}): Promise<Engine> {
  const checked = parseConfig(engineConfig, config)
  const log = parts.log ?? createLog(checked.logLevel)
  const opened = parts.driver ? { driver: parts.driver, close: async () => undefined } : await openQemu(checked, log)
  let engine: HostEngine | undefined
  try {
    const { images } = opened.driver
    const inUse = () => engine?.imagesInUse() ?? []
    const { imageStore: store, clock } = parts
    const openedImages = await openHostImages({ config: checked, images, store, log, clock, inUse })
    engine = new HostEngine(checked, parts, opened, openedImages, log)
    await engine.open()
    return engine
  } catch (error) {
    await (engine ?? opened).close()
    throw error
  }
}

class HostEngine implements Engine {
  readonly images: HostImages
  readonly #config: EngineConfig
  readonly #driver: VmDriver
  readonly #closeDriver: () => Promise<void>
  readonly #log: Logger
  readonly #capacity: Capacity
  readonly #paths: StatePaths
  readonly #source: MachineSource
  readonly #registry: Registry
  readonly #snapshots: Snapshots
  readonly #containerImages: ContainerImages
  readonly #listeners = new Set<(change: StateChange) => void>()
  readonly #warmListeners = new Set<() => void>()
  #closing: Promise<void> | undefined

  constructor(
    config: EngineConfig,
    parts: EngineParts,
    opened: { driver: VmDriver; close: () => Promise<unknown> },
    { hostImages, policy }: OpenedImages,
    log: Logger,
  ) {
    this.images = hostImages
    this.#config = config
    this.#driver = opened.driver
    this.#closeDriver = async () => void (await opened.close())
    this.#log = log
    this.#capacity = new Capacity(roomOf(config, policy, opened.driver.overheadMib))
    this.#paths = statePaths(config.stateDir)
    const { driver } = opened
    const { clock = systemClock, limits = bootLimits, onStep } = parts
    const context = { driver, gate: new BootGate(availableParallelism()), clock, limits, log }
    const templates = new Templates({ context, paths: this.#paths })
    const capacity = this.#capacity
    const onReady = () => {
      for (const listener of this.#warmListeners) listener()
    }
    this.#source = new MachineSource({
      context,
      capacity,
      templates,
      poolSize: poolSizeOf(config),
      clock,
      log,
      onReady,
    })
    hostImages.onChange(() => {
      this.#source.imagesChanged((image) => hostImages.has(image))
      onReady()
    })
    this.#snapshots = new Snapshots({ paths: this.#paths, versions: driver.versions, onStep })
    this.#registry = new Registry({
      context: { ...context, source: this.#source, paths: this.#paths, onStep },
      snapshots: this.#snapshots,
      images: hostImages,
      onChange: (change) => this.#changed(change),
    })
    this.#containerImages = new ContainerImages({
      images: driver.images,
      bring: (image, signal) => hostImages.bring(image, signal),
      request: (id, generation, asked) => this.#registry.request(id, generation, asked),
    })
  }

  /** Takes over what an earlier engine left in the state folder. */
  async open(): Promise<void> {
    const { sandboxes, snapshots } = this.#paths
    for (const folder of [sandboxes, snapshots]) await mkdir(folder, { recursive: true, mode: 0o700 })
    await this.#snapshots.open()
    await restart({
      driver: this.#driver,
      paths: this.#paths,
      capacity: this.#capacity,
      log: this.#log,
      adopt: (record, origin) => this.#registry.adopt(record, origin),
    })
  }

  *imagesInUse(): Generator<string> {
    yield* this.#registry.images()
    yield* this.#snapshots.images()
  }

  async create(id: string, generation: number, spec: SandboxSpec): Promise<Created> {
    const facts = { sandbox: id, generation, image: spec.image, vcpus: spec.vcpus, mem_mib: spec.mem_mib }
    return await logged(this.#log, 'sandbox.create', facts, () => this.#registry.create(id, generation, spec))
  }

  async request(id: string, generation: number, asked: GuestRequest): Promise<GuestResponse> {
    return await this.#registry.request(id, generation, asked)
  }

  async connect(id: string, generation: number, port: number, options: { signal: AbortSignal }): Promise<Duplex> {
    return await this.#registry.connect(id, generation, port, options.signal)
  }

  async borrow(id: string, generation: number, port: number, options: BorrowOptions): Promise<Borrowed> {
    return await this.#registry.borrow(id, generation, port, options)
  }

  async update(id: string, generation: number, idleSeconds: number): Promise<void> {
    await this.#registry.update(id, generation, idleSeconds)
  }

  async destroy(id: string, generation: number): Promise<Usage> {
    const facts = { sandbox: id, generation }
    return await logged(this.#log, 'sandbox.destroy', facts, () => this.#registry.destroy(id, generation))
  }

  async stats(id: string, generation: number): Promise<Usage> {
    return await this.#registry.stats(id, generation)
  }

  async fork(id: string, generation: number, children: readonly Child[]): Promise<Forked> {
    const facts: Record<string, unknown> = { sandbox: id, generation, children: children.length }
    return await logged(this.#log, 'sandbox.fork', facts, async () => {
      const forked = await this.#registry.fork(id, generation, children)
      facts.pause_ms = forked.pauseMs
      facts.failed = forked.children.filter(({ error }) => error).length
      return forked
    })
  }

  async snapshot(id: string, generation: number, snapshot: string): Promise<{ sizeBytes: number }> {
    const facts = { sandbox: id, generation, snapshot }
    return await logged(this.#log, 'sandbox.snapshot', facts, () => this.#registry.snapshot(id, generation, snapshot))
  }

  async restore(id: string, generation: number, snapshot: string, spec: SandboxSpec): Promise<Created> {
    const facts = { sandbox: id, generation, snapshot }
    return await logged(this.#log, 'sandbox.restore', facts, () =>
      this.#registry.restore(id, generation, snapshot, spec),
    )
  }

  async deleteSnapshot(snapshot: string): Promise<void> {
    await logged(this.#log, 'snapshot.delete', { snapshot }, () => this.#registry.deleteSnapshot(snapshot))
  }

  async checkpoint(
    id: string,
    generation: number,
    asked: CheckpointAsked & { wait: boolean },
  ): Promise<CheckpointMade> {
    const facts: Record<string, unknown> = { sandbox: id, generation, checkpoint: asked.checkpoint }
    return await logged(this.#log, 'sandbox.checkpoint', facts, async () => {
      const { wait, ...rest } = asked
      const made = await this.#registry.checkpoint(id, generation, rest)
      facts.pause_ms = made.pauseMs
      if (!wait) return made
      const { sizeBytes } = await this.#registry.waitForCheckpoint(id, generation, asked.checkpoint)
      return { ...made, sizeBytes, ready: true }
    })
  }

  async checkpoints(id: string, generation: number): Promise<readonly CheckpointListed[]> {
    return await this.#registry.listCheckpoints(id, generation)
  }

  async waitForCheckpoint(id: string, generation: number, checkpoint: string): Promise<{ sizeBytes: number }> {
    return await this.#registry.waitForCheckpoint(id, generation, checkpoint)
  }

  async restoreCheckpoint(id: string, generation: number, checkpoint: string): Promise<Reverted> {
    const facts = { sandbox: id, generation, checkpoint }
    return await logged(this.#log, 'checkpoint.restore', facts, () =>
      this.#registry.restoreCheckpoint(id, generation, checkpoint),
    )
  }

  async deleteCheckpoint(id: string, generation: number, checkpoint: string): Promise<void> {
    const facts = { sandbox: id, generation, checkpoint }
    await logged(this.#log, 'checkpoint.delete', facts, () =>
      this.#registry.deleteCheckpoint(id, generation, checkpoint),
    )
  }

  async bringImage(id: string, generation: number, image: string, signal?: AbortSignal): Promise<ContainerImage> {
    const facts = { sandbox: id, generation, image }
    return await logged(this.#log, 'guest.image', facts, () =>
      this.#containerImages.bring(id, generation, image, signal),
    )
  }

  async hibernate(id: string, generation: number): Promise<Usage> {
    const facts = { sandbox: id, generation }
    return await logged(this.#log, 'sandbox.hibernate', facts, () => this.#registry.hibernate(id, generation))
  }

  async resume(id: string, generation: number): Promise<{ resumeMs: number }> {
    const facts = { sandbox: id, generation }
    return await logged(this.#log, 'sandbox.resume', facts, () => this.#registry.resume(id, generation))
  }

  status(): EngineStatus {
    return {
      accelerator: this.#driver.accelerator,
      draining: this.#registry.draining,
      vcpus: this.#config.vcpus,
      totalMemoryMib: this.#config.memoryMib,
      freeVcpus: this.#source.freeVcpus,
      load: Math.round(((loadavg()[0] ?? 0) / availableParallelism()) * 100) / 100,
      warm: this.images.byName(this.#source.readyByImage),
      ready: this.images.byOwnName(this.#source.readyByImage),
      freeMemoryMib: this.#source.freeMemoryMib,
      freeSlots: this.#source.freeSlots,
      images: this.images.bootable(),
      policy: this.images.told,
      sandboxes: this.#registry.list(),
    }
  }

  onChange(listener: (change: StateChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  onWarm(listener: () => void): () => void {
    this.#warmListeners.add(listener)
    return () => this.#warmListeners.delete(listener)
  }

  drain(): void {
    this.#registry.drain()
    void this.#source.drain()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.drain()
    try {
      await this.#registry.destroyAll('drain')
      await this.#source.close()
      await this.images.close()
    } finally {
      await this.#closeDriver()
    }
  }

  #changed(change: StateChange): void {
    if (change.byItself) this.#log.warn({ ...change }, 'sandbox.changed')
    for (const listener of this.#listeners) listener(change)
  }
}
