/** Checkpoints of a sandbox: its files of one moment, to go back to. Memory is not in them. */

import {
  checkpointCreated,
  checkpointDeleted,
  checkpointList,
  checkpointReady,
  checkpointRestored,
} from '@portico/shared/api'
import { saveMs, shortMs } from '../limits.ts'
import type { DataPlane } from './data-plane.ts'
import type { CallOptions } from './wire.ts'

export interface NewCheckpoint {
  readonly ok: true
  readonly checkpoint_id: string
  readonly name: string
  readonly created_at: string
  /** What it takes beyond the one before it. */
  readonly size_bytes: number
  readonly copy_duration_ms: number
  /** How long writers in the sandbox stood still. */
  readonly pause_ms: number
  /** Whether it is on the disk for good already; `wait` waits for that. */
  readonly ready: boolean
}

export interface CheckpointInfo {
  readonly id: string
  readonly name: string
  readonly created_at: string
  readonly size_bytes: number
  /** Such as `12.3 MB`. */
  readonly size_human: string
  readonly ready: boolean
}

/** Oldest first. */
export interface CheckpointList {
  readonly checkpoints: readonly CheckpointInfo[]
}

export interface Restored {
  readonly ok: true
  readonly checkpoint_id: string
  readonly restore_duration_ms: number
  /** Services that ran at the time of the checkpoint and run now. */
  readonly started_services: readonly string[]
  /** Those that ran before the restore, but not at the time of the checkpoint. */
  readonly stopped_services: readonly string[]
  /** Those that ran at the time of the checkpoint and could not be started. */
  readonly failed_services: readonly string[]
}

export class Checkpoints {
  readonly #plane: DataPlane

  /** @internal Made by Sandbox alone. */
  constructor(plane: DataPlane) {
    this.#plane = plane
  }

  /** Keeps the files as they are now; the sandbox goes on. Before something depends on it, `wait` for it. */
  async create(options: CallOptions & { readonly name?: string } = {}): Promise<NewCheckpoint> {
    const { signal, ...json } = options
    const call = { method: 'POST', path: '/v1/checkpoints', doing: 'make a checkpoint', limitMs: saveMs } as const
    return await this.#plane.json({ ...call, json, signal }, checkpointCreated)
  }

  async list({ signal }: CallOptions = {}): Promise<CheckpointList> {
    const call = { method: 'GET', path: '/v1/checkpoints', doing: 'list the checkpoints', limitMs: shortMs } as const
    return await this.#plane.json({ ...call, repeatable: true, signal }, checkpointList)
  }

  /** Resolves once it is on the disk for good. */
  async wait(checkpoint: string | { readonly checkpoint_id: string }, { signal }: CallOptions = {}): Promise<void> {
    const json = { checkpoint_id: typeof checkpoint === 'string' ? checkpoint : checkpoint.checkpoint_id }
    const call = { method: 'POST', path: '/v1/checkpoints/wait', doing: 'wait for the checkpoint' } as const
    await this.#plane.json({ ...call, limitMs: saveMs, repeatable: true, json, signal }, checkpointReady)
  }

  /** Goes back to the files of a checkpoint. Processes end; services that ran at that moment are started again. */
  async restore(id: string, { signal }: CallOptions = {}): Promise<Restored> {
    const path = `/v1/checkpoints/${encodeURIComponent(id)}/restore`
    const call = { method: 'POST', path, doing: 'restore the checkpoint', limitMs: saveMs, signal } as const
    return await this.#plane.json(call, checkpointRestored)
  }

  async delete(id: string, { signal }: CallOptions = {}): Promise<void> {
    const path = `/v1/checkpoints/${encodeURIComponent(id)}`
    const call = { method: 'DELETE', path, doing: 'delete the checkpoint', limitMs: shortMs, signal } as const
    await this.#plane.json(call, checkpointDeleted)
  }
}
