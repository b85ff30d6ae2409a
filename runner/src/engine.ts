/**
 * Everything of a runner but its tunnel: sandboxes on this host, by function call. The daemon puts the tunnel in front of it; tests and benchmarks
 * use it as it is. It chooses what runs the machines and owns all of it: `close()` leaves nothing on the host.
 */

import { availableParallelism } from 'node:os'
import { type Clock, systemClock } from '@portico/shared/clock'
import type { SandboxSpec } from '@portico/shared/control'
import type { Usage } from '@portico/shared/usage'
import { Capacity } from './capacity.ts'
import { type EngineConfig, engineConfig, parseConfig } from './config.ts'
import type { GuestRequest, GuestResponse } from './guest/http.ts'
import { createLog, type Logger, logged } from './log.ts'
import { BootGate } from './sandbox/boot-gate.ts'
import type { Created, StateChange } from './sandbox/driver.ts'
import { type BootLimits, bootLimits } from './sandbox/phases.ts'
import { type Listed, Registry } from './sandbox/registry.ts'
import type { Accelerator, VmDriver } from './vm/driver.ts'
import { openQemu } from './vm/qemu/open.ts'

export type { GuestRequest, GuestResponse } from './guest/http.ts'
export type { Created, StateChange } from './sandbox/driver.ts'

/** What tests replace. */
export interface EngineParts {
  /** Runs the machines instead of QEMU; the state folder is then not touched. */
  readonly driver?: VmDriver
  readonly clock?: Clock
  readonly log?: Logger
  readonly limits?: BootLimits
}

/** What a runner can still take. */
export interface EngineStatus {
  readonly accelerator: Accelerator
  readonly draining: boolean
  readonly vcpus: number
  readonly freeMemoryMib: number
  readonly freeSlots: number
  readonly images: readonly string[]
  readonly sandboxes: readonly Listed[]
}

export interface Engine {
  /** Boots a sandbox; resolves when it may be used. Repeated with the same id and generation: the same answer. */
  create(id: string, generation: number, spec: SandboxSpec): Promise<Created>
  /** One HTTP request to the sandbox's agent. */
  request(id: string, generation: number, asked: GuestRequest): Promise<GuestResponse>
  update(id: string, generation: number, idleSeconds: number): Promise<void>
  /** Frees a sandbox; repeated: the same final usage. */
  destroy(id: string, generation: number): Promise<Usage>
  stats(id: string, generation: number): Promise<Usage>
  status(): EngineStatus
  /** Calls `listener` at every change of a sandbox's state; the answer ends that. */
  onChange(listener: (change: StateChange) => void): () => void
  /** From now on nothing is created. */
  drain(): void
  /** Destroys all sandboxes and gives everything back. Safe to repeat. */
  close(): Promise<void>
}

/** Opens an engine, or throws having freed all. `config` is checked here. */
export async function openEngine(config: object, parts: EngineParts = {}): Promise<Engine> {
  const checked = parseConfig(engineConfig, config)
  const log = parts.log ?? createLog(checked.logLevel)
  const opened = parts.driver ? { driver: parts.driver, close: async () => undefined } : await openQemu(checked, log)
  return new HostEngine(checked, parts, opened, log)
}

class HostEngine implements Engine {
  readonly #config: EngineConfig
  readonly #driver: VmDriver
  readonly #closeDriver: () => Promise<void>
  readonly #log: Logger
  readonly #capacity: Capacity
  readonly #registry: Registry
  readonly #listeners = new Set<(change: StateChange) => void>()
  #closing: Promise<void> | undefined

  constructor(
    config: EngineConfig,
    parts: EngineParts,
    opened: { driver: VmDriver; close: () => Promise<unknown> },
    log: Logger,
  ) {
    this.#config = config
    this.#driver = opened.driver
    this.#closeDriver = async () => void (await opened.close())
    this.#log = log
    this.#capacity = new Capacity({ slots: config.maxSandboxes, memoryMib: config.memoryMib })
    this.#registry = new Registry({
      context: {
        driver: opened.driver,
        gate: new BootGate(availableParallelism()),
        clock: parts.clock ?? systemClock,
        limits: parts.limits ?? bootLimits,
        log,
      },
      capacity: this.#capacity,
      imageAliases: config.imageAliases,
      onChange: (change) => this.#changed(change),
    })
  }

  async create(id: string, generation: number, spec: SandboxSpec): Promise<Created> {
    const facts = { sandbox: id, generation, image: spec.image, vcpus: spec.vcpus, mem_mib: spec.mem_mib }
    return await logged(this.#log, 'sandbox.create', facts, () => this.#registry.create(id, generation, spec))
  }

  async request(id: string, generation: number, asked: GuestRequest): Promise<GuestResponse> {
    return await this.#registry.request(id, generation, asked)
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

  status(): EngineStatus {
    return {
      accelerator: this.#driver.accelerator,
      draining: this.#registry.draining,
      vcpus: this.#config.vcpus,
      freeMemoryMib: this.#capacity.freeMemoryMib,
      freeSlots: this.#capacity.freeSlots,
      images: [...this.#driver.images.keys(), ...this.#aliases()],
      sandboxes: this.#registry.list(),
    }
  }

  onChange(listener: (change: StateChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  drain(): void {
    this.#registry.drain()
  }

  close(): Promise<void> {
    this.#closing ??= this.#registry.destroyAll('drain').then(this.#closeDriver)
    return this.#closing
  }

  /** Names that lead to an image which is there. */
  #aliases(): string[] {
    return Object.entries(this.#config.imageAliases).flatMap(([name, preset]) =>
      this.#driver.images.has(preset) ? [name] : [],
    )
  }

  #changed(change: StateChange): void {
    if (change.byItself) this.#log.warn({ ...change }, 'sandbox.changed')
    for (const listener of this.#listeners) listener(change)
  }
}
