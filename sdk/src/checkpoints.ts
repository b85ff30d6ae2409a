/** Checkpoints of a sandbox: its files at one moment, kept beside it until they are deleted or it is destroyed. Memory is not in them. */

import {
  checkpointCreated,
  checkpointDeleted,
  checkpointList,
  checkpointReady,
  checkpointRestored,
} from '@portico/shared/api'
import { checkpointMs, saveMs, shortMs } from './limits.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

export interface CheckpointOptions extends CallOptions {
  /** What people call it; need not be unique. */
  readonly name?: string | undefined
  /** Answers once it is on the disk for good. */
  readonly wait?: boolean | undefined
}

/** A checkpoint that exists. */
export interface CheckpointInfo {
  readonly id: string
  /** Empty unless told. */
  readonly name: string
  readonly createdAt: Date
  /** What it takes beyond the checkpoint before it, or beyond the image. */
  readonly sizeBytes: number
  /** Whether it is on the disk for good. */
  readonly ready: boolean
}

/** A checkpoint that was just made. */
export interface NewCheckpoint extends CheckpointInfo {
  /** How long it took where the sandbox runs. */
  readonly copyMs: number
  /** How long whoever writes in the sandbox stood still. */
  readonly pauseMs: number
}

/** What came of going back. */
export interface CheckpointRestored {
  readonly id: string
  readonly restoreMs: number
  /** Services that ran at that moment and run now. */
  readonly startedServices: readonly string[]
  /** Services that ran before, but not at that moment. */
  readonly stoppedServices: readonly string[]
  /** Services that ran at that moment and could not be started. */
  readonly failedServices: readonly string[]
}

export class SandboxCheckpoints {
  readonly #transport: Transport
  readonly #path: string

  /** @internal Made by Sandbox alone. */
  constructor(transport: Transport, sandboxPath: string) {
    this.#transport = transport
    this.#path = `${sandboxPath}/checkpoints`
  }

  /** Keeps the files of this moment; the sandbox goes on. Never repeated by itself: each call makes another one. */
  async create({ name, wait, signal }: CheckpointOptions = {}): Promise<NewCheckpoint> {
    const call = { method: 'POST', path: this.#path, doing: 'make a checkpoint', json: { name, wait } } as const
    const limitMs = wait ? checkpointMs : saveMs
    const made = await this.#transport.json({ ...call, limitMs, signal }, checkpointCreated)
    return {
      id: made.checkpoint_id,
      name: made.name,
      createdAt: new Date(made.created_at),
      sizeBytes: made.size_bytes,
      ready: made.ready,
      copyMs: made.copy_duration_ms,
      pauseMs: made.pause_ms,
    }
  }

  /** Those that exist, oldest first; also while the sandbox sleeps. */
  async list({ signal }: CallOptions = {}): Promise<CheckpointInfo[]> {
    const call = { method: 'GET', path: this.#path, doing: 'list the checkpoints', limitMs: shortMs } as const
    const { checkpoints } = await this.#transport.json({ ...call, repeatable: true, signal }, checkpointList)
    return checkpoints.map(({ id, name, created_at, size_bytes, ready }) => ({
      id,
      name,
      createdAt: new Date(created_at),
      sizeBytes: size_bytes,
      ready,
    }))
  }

  /** Waits until a checkpoint is on the disk for good; answers with what it takes there. */
  async wait(id: string, { signal }: CallOptions = {}): Promise<{ readonly sizeBytes: number }> {
    const call = { method: 'POST', path: `${this.#path}/wait`, doing: 'wait for the checkpoint' } as const
    const json = { checkpoint_id: id }
    const told = await this.#transport.json(
      { ...call, json, limitMs: checkpointMs, repeatable: true, signal },
      checkpointReady,
    )
    return { sizeBytes: told.size_bytes }
  }

  /**
   * Puts the files of that moment back in place, in the same sandbox. Its processes end, and services that ran at that moment are started again. When it fails the
   * sandbox is as it was before; after an UnavailableError it may or may not have happened.
   */
  async restore(id: string, { signal }: CallOptions = {}): Promise<CheckpointRestored> {
    const call = { method: 'POST', path: `${this.#of(id)}/restore`, doing: 'restore the checkpoint' } as const
    const told = await this.#transport.json({ ...call, limitMs: checkpointMs, signal }, checkpointRestored)
    return {
      id: told.checkpoint_id,
      restoreMs: told.restore_duration_ms,
      startedServices: told.started_services,
      stoppedServices: told.stopped_services,
      failedServices: told.failed_services,
    }
  }

  /** Deletes a checkpoint; also while the sandbox sleeps. */
  async delete(id: string, { signal }: CallOptions = {}): Promise<void> {
    const call = { method: 'DELETE', path: this.#of(id), doing: 'delete the checkpoint', limitMs: shortMs } as const
    await this.#transport.json({ ...call, repeatable: true, signal }, checkpointDeleted)
  }

  #of(id: string): string {
    return `${this.#path}/${encodeURIComponent(id)}`
  }
}
