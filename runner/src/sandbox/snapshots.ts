/**
 * The snapshots of this runner: saved states in folders of their own, which outlive their sandboxes and the runner's process. Saving one twice answers
 * the same; one that is being restored is removed only after that.
 */

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import type { StatePaths } from '../paths.ts'
import { isSaved, removeSaved } from '../snapshot/folders.ts'
import { partNames } from '../snapshot/manifest.ts'
import { openState } from '../snapshot/open.ts'
import { saveState } from '../snapshot/save.ts'
import type { MachineState, StateVersions } from '../vm/machine-state.ts'
import { mustBeName } from './name.ts'
import { SnapshotImages } from './snapshot-images.ts'
import type { OnStep } from './steps.ts'

export interface SnapshotsOptions {
  readonly paths: Pick<StatePaths, 'snapshot' | 'snapshots'>
  readonly versions: StateVersions
  readonly onStep: OnStep | undefined
}

export interface OpenSnapshot {
  readonly state: MachineState
  /** Variables that its sandbox was created with. */
  readonly env: Readonly<Record<string, string>>
  /** Nobody may use a machine that is made of the state before this resolves. */
  verify(): Promise<void>
}

/** The sandbox that a snapshot is of. */
export interface SavedFrom {
  readonly generation: number
  readonly env: Readonly<Record<string, string>>
}

const never = new AbortController().signal

export class Snapshots {
  readonly #options: SnapshotsOptions
  readonly #saving = new Map<string, Promise<{ sizeBytes: number }>>()
  /** What is under way with a snapshot: its removal waits for that. */
  readonly #uses = new Map<string, Set<Promise<unknown>>>()
  readonly #deleting = new Map<string, Promise<void>>()
  readonly #images = new SnapshotImages()

  constructor(options: SnapshotsOptions) {
    this.#options = options
  }

  /** Finds out what is there already. */
  async open(): Promise<void> {
    await this.#images.read(this.#options.paths)
  }

  /** What its snapshots are made of. */
  images(): Iterable<string> {
    return this.#images.names()
  }

  /** Keeps the state that `copy` answers, unless there is a snapshot of that id already. The state is released in any case. */
  async save(id: string, from: SavedFrom, copy: () => Promise<MachineState>): Promise<{ sizeBytes: number }> {
    mustBeName(id)
    await this.#deleting.get(id)
    let saving = this.#saving.get(id)
    if (!saving) {
      saving = this.#save(id, from, copy).finally(() => this.#saving.delete(id))
      this.#saving.set(id, saving)
    }
    return await saving
  }

  /** Opens a snapshot for as long as `run` takes, and for the proof that it is undamaged. */
  async use<Value>(id: string, run: (snapshot: OpenSnapshot) => Promise<Value>): Promise<Value> {
    mustBeName(id)
    if (this.#deleting.has(id)) throw new AppError('snapshot_not_found', 'cannot find the snapshot on this runner')
    const using = this.#use(id, run)
    const uses = this.#uses.get(id) ?? new Set()
    this.#uses.set(id, uses.add(using.over))
    void using.over.then(() => {
      uses.delete(using.over)
      if (uses.size === 0) this.#uses.delete(id)
    })
    return await using.value
  }

  /** Removes a snapshot, once nobody uses it any more. One that does not exist is removed already. */
  async delete(id: string): Promise<void> {
    mustBeName(id)
    let deleting = this.#deleting.get(id)
    if (!deleting) {
      deleting = this.#delete(id).finally(() => this.#deleting.delete(id))
      this.#deleting.set(id, deleting)
    }
    await deleting
  }

  async #save(id: string, from: SavedFrom, copy: () => Promise<MachineState>): Promise<{ sizeBytes: number }> {
    const { onStep } = this.#options
    const known = await this.#known(id)
    if (known) return known
    const state = await copy()
    this.#images.add(id, state.shape.image.name)
    try {
      const tell = (step: string) => onStep?.(`snapshot.save.${step}`)
      const folder = this.#options.paths.snapshot(id)
      const { sizeBytes } = await saveState(state, folder, { kind: 'snapshot', ...from, onStep: tell })
      await onStep?.('snapshot.saved')
      return { sizeBytes }
    } catch (error) {
      this.#images.remove(id)
      throw error
    } finally {
      await state.release()
    }
  }

  /** The answer of a save that was finished before; what is left of one that was not is removed. */
  async #known(id: string): Promise<{ sizeBytes: number } | undefined> {
    const folder = this.#options.paths.snapshot(id)
    if (await isSaved(folder)) return { sizeBytes: await allocated(folder) }
    await removeSaved(folder)
    return undefined
  }

  #use<Value>(id: string, run: (snapshot: OpenSnapshot) => Promise<Value>) {
    const opened = openState(this.#options.paths.snapshot(id), this.#options.versions, never)
    const value = opened.then(({ state, manifest, verify }) => run({ state, env: manifest.env, verify }))
    const over = Promise.allSettled([value]).then(async () => {
      await opened.then(({ state }) => state.release()).catch(() => undefined)
    })
    return { value, over }
  }

  async #delete(id: string): Promise<void> {
    await this.#saving.get(id)?.catch(() => undefined)
    await Promise.all(this.#uses.get(id) ?? [])
    await removeSaved(this.#options.paths.snapshot(id))
    this.#images.remove(id)
  }
}

/** What a saved state takes, without the memory that it shares with others. */
async function allocated(folder: string): Promise<number> {
  const own = (await readdir(folder)).filter((name) => name !== partNames.base)
  const stats = await Promise.all(own.map((name) => stat(join(folder, name))))
  return stats.reduce((sum, { blocks }) => sum + blocks * 512, 0)
}
