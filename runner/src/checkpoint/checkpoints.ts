/**
 * The checkpoints of one sandbox: its disk at one moment each, in folders beside its record, with the machine running on. A layer of a disk is never
 * written again, so a checkpoint is links to layers that the machine goes on with, and takes what its newest own layer takes.
 *
 *   none ──create──▶ kept (links stand) ──in the background──▶ ready (on the disk for good, digests known) ──delete──▶ none
 *
 * It owns the sandbox's `checkpoints` folder. Whoever calls `create` and `use` does so one at a time; the rest may be asked at any time.
 */

import { mkdir, readdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { abortable } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { maxCheckpoints } from '@portico/shared/limits'
import { orDiskFull } from '../disk/full.ts'
import type { ServiceState } from '../guest/checkpoint.ts'
import type { SandboxPaths } from '../paths.ts'
import type { CapturedDisk } from '../vm/driver.ts'
import type { DiskLayer, MachineShape } from '../vm/machine-state.ts'
import { ownBytes, provenLayers, removeCheckpoint, secured, syncPath } from './files.ts'
import { type CheckpointManifest, readCheckpoint, writeCheckpoint } from './manifest.ts'

/** What a crash of the runner makes a difference between; told once what it names is done. */
export const checkpointSteps = [
  'checkpoint.linked',
  'checkpoint.kept',
  'checkpoint.secured',
  'checkpoint.ready',
] as const
export type CheckpointStep = (typeof checkpointSteps)[number]

export interface CheckpointsOptions {
  readonly paths: SandboxPaths
  readonly onStep: ((step: CheckpointStep) => void | Promise<void>) | undefined
  /** The background could not finish one. */
  readonly onTrouble: (error: unknown) => void
}

export interface CheckpointAsked {
  readonly checkpoint: string
  readonly name: string
  readonly createdAt: string
}

export interface CheckpointMade {
  readonly sizeBytes: number
  readonly copyMs: number
  readonly pauseMs: number
  readonly ready: boolean
}

export interface CheckpointListed extends CheckpointAsked {
  readonly sizeBytes: number
  readonly ready: boolean
}

/** What a machine has to give for one. */
export interface CheckpointTaken {
  readonly disk: CapturedDisk
  readonly services: readonly ServiceState[]
  readonly pauseMs: number
}

/** One that is whole; its files are there for as long as `use` lasts. */
export interface OpenCheckpoint {
  readonly layers: readonly DiskLayer[]
  readonly shape: MachineShape
  readonly services: readonly ServiceState[]
}

export class Checkpoints {
  readonly #options: CheckpointsOptions
  /** Those that become ready, one after the other. */
  readonly #finishing = new Map<string, Promise<void>>()
  #last: Promise<unknown> = Promise.resolve()
  #uses: { readonly checkpoint: string; readonly over: Promise<unknown> } | undefined
  readonly #closed = new AbortController()

  constructor(options: CheckpointsOptions) {
    this.#options = options
  }

  /** Keeps what `take` links into the folder that it is given. Repeated: the same answer, and nothing is taken. */
  async create(asked: CheckpointAsked, take: (folder: string) => Promise<CheckpointTaken>): Promise<CheckpointMade> {
    const startedAt = performance.now()
    const { paths, onStep } = this.#options
    const folder = paths.checkpoint(asked.checkpoint)
    const known = await readCheckpoint(folder).catch(absent)
    if (known) return madeOf(known)
    const others = await this.#all()
    if (others.length >= maxCheckpoints)
      throw new AppError('quota_exceeded', `cannot keep another checkpoint: a sandbox has at most ${maxCheckpoints}`)
    await removeCheckpoint(paths, asked.checkpoint)
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const { disk, services, pauseMs } = await take(folder)
      await onStep?.('checkpoint.linked')
      const before = others.at(-1)
      const manifest: CheckpointManifest = {
        format: 1,
        kind: 'checkpoint',
        checkpoint: asked.checkpoint,
        number: (before?.number ?? 0) + 1,
        name: asked.name,
        created_at: asked.createdAt,
        size_bytes: await ownBytes(disk, before && paths.checkpoint(before.checkpoint)),
        copy_ms: tenths(performance.now() - startedAt),
        pause_ms: tenths(pauseMs),
        shape: disk.shape,
        layers: disk.layers.map(({ format, bytes }) => ({ format, bytes })),
        services: [...services],
        ready: false,
      }
      await writeCheckpoint(folder, manifest, false)
      await onStep?.('checkpoint.kept')
      this.#finish(manifest).catch(this.#options.onTrouble)
      return madeOf(manifest)
    } catch (error) {
      await removeCheckpoint(paths, asked.checkpoint)
      throw orDiskFull(error, 'keep the checkpoint')
    }
  }

  /** Oldest first. */
  async list(): Promise<CheckpointListed[]> {
    return (await this.#all()).map(({ checkpoint, name, created_at: createdAt, size_bytes: sizeBytes, ready }) => ({
      checkpoint,
      name,
      createdAt,
      sizeBytes,
      ready,
    }))
  }

  /** Resolves when it is on the disk for good. */
  async wait(checkpoint: string): Promise<{ sizeBytes: number }> {
    const manifest = await this.#ready(checkpoint)
    return { sizeBytes: manifest.size_bytes }
  }

  /** Opens one for as long as `run` takes, having proven that it is undamaged; `signal` ends the wait for that. */
  async use<Value>(
    checkpoint: string,
    run: (open: OpenCheckpoint) => Promise<Value>,
    signal: AbortSignal,
  ): Promise<Value> {
    const using = abortable(this.#proven(checkpoint), signal).then(run)
    this.#uses = { checkpoint, over: using.catch(() => undefined) }
    try {
      return await using
    } finally {
      this.#uses = undefined
    }
  }

  /** Removes one, once it is not used any more. One that does not exist is removed already. */
  async delete(checkpoint: string): Promise<void> {
    if (this.#uses?.checkpoint === checkpoint) await this.#uses.over
    await this.#finishing.get(checkpoint)?.catch(() => undefined)
    await removeCheckpoint(this.#options.paths, checkpoint)
  }

  /** Makes ready what an earlier process of the runner did not. */
  async recover(): Promise<void> {
    for (const manifest of await this.#all()) if (!manifest.ready) this.#finish(manifest).catch(this.#options.onTrouble)
  }

  /** Resolves when nothing becomes ready any more: all are on the disk, or could not be brought there. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#finishing.values())
  }

  /** Ends the background; resolves when it writes nothing any more. */
  async close(): Promise<void> {
    this.#closed.abort()
    await this.settled()
  }

  async #proven(checkpoint: string): Promise<OpenCheckpoint> {
    const manifest = await this.#ready(checkpoint)
    const layers = await provenLayers(this.#options.paths.checkpoint(checkpoint), manifest)
    return { layers, shape: manifest.shape, services: manifest.services }
  }

  async #ready(checkpoint: string): Promise<CheckpointManifest> {
    const folder = this.#options.paths.checkpoint(checkpoint)
    const manifest = await readCheckpoint(folder)
    if (manifest.ready) return manifest
    await (this.#finishing.get(checkpoint) ?? this.#finish(manifest))
    const now = await readCheckpoint(folder)
    if (now.ready) return now
    throw new AppError('sandbox_not_running', 'cannot wait for the checkpoint: its sandbox is given up by this runner')
  }

  #finish(manifest: CheckpointManifest): Promise<void> {
    const { checkpoint } = manifest
    const finishing = this.#last.then(() => this.#makeReady(manifest)).finally(() => this.#finishing.delete(checkpoint))
    this.#finishing.set(checkpoint, finishing)
    this.#last = finishing.catch(() => undefined)
    return finishing
  }

  async #makeReady(manifest: CheckpointManifest): Promise<void> {
    const { paths, onStep } = this.#options
    const folder = paths.checkpoint(manifest.checkpoint)
    if (this.#closed.signal.aborted) return
    const layers = await secured(folder, manifest)
    await onStep?.('checkpoint.secured')
    if (this.#closed.signal.aborted) return
    await writeCheckpoint(folder, { ...manifest, layers, ready: true }, true)
    for (const path of [folder, paths.checkpoints, dirname(paths.checkpoints)]) await syncPath(path)
    await onStep?.('checkpoint.ready')
  }

  /** Those that can be read, oldest first. */
  async #all(): Promise<CheckpointManifest[]> {
    const { paths, onTrouble } = this.#options
    const names = await readdir(paths.checkpoints).catch(() => [])
    const all = await Promise.all(
      names.map((name) =>
        readCheckpoint(paths.checkpoint(name)).catch((error: unknown) => {
          if (!(error instanceof AppError && error.code === 'checkpoint_not_found')) onTrouble(error)
          return undefined
        }),
      ),
    )
    return all.filter((one) => one !== undefined).toSorted((one, other) => one.number - other.number)
  }
}

function madeOf({ size_bytes, copy_ms, pause_ms, ready }: CheckpointManifest): CheckpointMade {
  return { sizeBytes: size_bytes, copyMs: copy_ms, pauseMs: pause_ms, ready }
}

function absent(error: unknown): undefined {
  if (!(error instanceof AppError && error.code === 'checkpoint_not_found')) throw error
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}
