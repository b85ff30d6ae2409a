/** The fleet: the hosts that run sandboxes. */

import { runnerEnrolled, runnerList, runnerRecord, runnerRemoved, type RunnerRecord as Wire } from '@portico/shared/api'
import { shortMs } from './limits.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

export interface RunnerOptions extends CallOptions {
  readonly region: string
  readonly name?: string | undefined
}

/** A runner that was just enrolled: the only time that its token is told. */
export interface NewRunner {
  readonly id: string
  readonly region: string
  readonly name: string
  readonly createdAt: Date
  /** What its daemon connects with. */
  readonly token: string
}

/** `hibernate` puts to sleep what runs there; `wait` lets it end by itself. */
export type DrainMode = 'wait' | 'hibernate'

export interface DrainProgress {
  readonly mode: DrainMode
  /** Sandboxes that still run there. */
  readonly running: number
  readonly hibernated: number
  readonly done: boolean
}

/** A runner as its region knows it; null is what it has not said yet. */
export interface RunnerInfo {
  readonly id: string
  readonly region: string
  readonly name: string
  readonly createdAt: Date
  readonly connected: boolean
  /** It gets no new sandboxes, as it or the operator asked. */
  readonly draining: boolean
  /** How far the operator's drain is; null if none was asked for. */
  readonly drain: DrainProgress | null
  /** The generation of the stream protocol that it speaks. */
  readonly generation: number | null
  readonly version: string | null
  readonly accelerator: string | null
  readonly vcpus: number | null
  readonly freeVcpus: number | null
  readonly memMiB: number | null
  readonly freeMemMiB: number | null
  readonly freeSlots: number | null
  readonly load: number | null
  readonly sockets: number
  readonly images: readonly string[]
  /** Machines that stand ready, by image. */
  readonly warm: Readonly<Record<string, number>>
  readonly sandboxes: number
  readonly seenAt: Date | null
}

export class AdminRunners {
  readonly #transport: Transport

  /** @internal Made by PorticoAdmin alone. */
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Admits a runner and makes its token. Never repeated by itself: each call enrols another one. */
  async enrol({ region, name, signal }: RunnerOptions): Promise<NewRunner> {
    const call = { method: 'POST', path: '/admin/runners', doing: 'enrol the runner', limitMs: shortMs } as const
    const { created_at, ...made } = await this.#transport.json(
      { ...call, json: { region, name }, signal },
      runnerEnrolled,
    )
    return { ...made, createdAt: new Date(created_at) }
  }

  async list({ signal }: CallOptions = {}): Promise<RunnerInfo[]> {
    const call = { method: 'GET', path: '/admin/runners', doing: 'list the runners', limitMs: shortMs } as const
    const { runners } = await this.#transport.json({ ...call, repeatable: true, signal }, runnerList)
    return runners.map(runnerInfo)
  }

  async get(id: string, { signal }: CallOptions = {}): Promise<RunnerInfo> {
    const call = { method: 'GET', path: pathOf(id), doing: 'look up the runner', limitMs: shortMs } as const
    return runnerInfo(await this.#transport.json({ ...call, repeatable: true, signal }, runnerRecord))
  }

  /** Gives it no new sandboxes and begins to empty it; `get` tells how far that is. */
  async drain(id: string, mode: DrainMode, { signal }: CallOptions = {}): Promise<RunnerInfo> {
    const call = { method: 'POST', path: `${pathOf(id)}/drain`, doing: 'drain the runner', limitMs: shortMs } as const
    const drained = await this.#transport.json({ ...call, json: { mode }, repeatable: true, signal }, runnerRecord)
    return runnerInfo(drained)
  }

  /** Takes a drain back. */
  async undrain(id: string, { signal }: CallOptions = {}): Promise<RunnerInfo> {
    const path = `${pathOf(id)}/undrain`
    const call = { method: 'POST', path, doing: 'take the drain back', limitMs: shortMs } as const
    return runnerInfo(await this.#transport.json({ ...call, repeatable: true, signal }, runnerRecord))
  }

  /**
   * Forgets a runner and refuses its token. One that still has sandboxes is refused (ConflictError) unless it is given up as `lost`, and its sandboxes
   * with it. Answers how many were lost.
   */
  async remove(id: string, { lost = false, signal }: CallOptions & { readonly lost?: boolean } = {}): Promise<number> {
    const path = `${pathOf(id)}${lost ? '?lost=true' : ''}`
    const call = { method: 'DELETE', path, doing: 'remove the runner', limitMs: shortMs } as const
    return (await this.#transport.json({ ...call, signal }, runnerRemoved)).lost_sandboxes
  }
}

function pathOf(id: string): string {
  return `/admin/runners/${encodeURIComponent(id)}`
}

function runnerInfo(wire: Wire): RunnerInfo {
  return {
    id: wire.id,
    region: wire.region,
    name: wire.name,
    createdAt: new Date(wire.created_at),
    connected: wire.connected,
    draining: wire.draining,
    drain: wire.drain,
    generation: wire.generation,
    version: wire.version,
    accelerator: wire.accelerator,
    vcpus: wire.vcpus,
    freeVcpus: wire.free_vcpus,
    memMiB: wire.total_mem_mib,
    freeMemMiB: wire.free_mem_mib,
    freeSlots: wire.free_slots,
    load: wire.load,
    sockets: wire.sockets,
    images: wire.images,
    warm: wire.warm,
    sandboxes: wire.sandboxes,
    seenAt: wire.seen_at === null ? null : new Date(wire.seen_at),
  }
}
