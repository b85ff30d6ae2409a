/**
 * The sandboxes of this runner, by id. Every call names a generation: a runner that holds another one answers `moved`, but a create of a later
 * generation replaces what the earlier one left. Calls may be repeated, as an answer may get lost on its way: a create that exists, a fork whose
 * children exist and a destroy that is done answer the same again. Sandboxes that ended are remembered for a while for that.
 */

import { availableParallelism } from 'node:os'
import type { Duplex } from 'node:stream'
import type { SandboxSpec } from '@portico/shared/control'
import { AppError, type WireError } from '@portico/shared/errors'
import { isFinal, type SandboxState } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import type { CheckpointAsked, CheckpointListed, CheckpointMade, Checkpoints } from '../checkpoint/checkpoints.ts'
import type { GuestRequest, GuestResponse } from '../guest/http.ts'
import type { HostImages } from '../policy/host-images.ts'
import type { Borrowed } from '../port/pool.ts'
import type { Origin, SandboxContext } from './birth.ts'
import { BootGate } from './boot-gate.ts'
import { SandboxDriver } from './driver.ts'
import type { BorrowOptions } from './guest-calls.ts'
import { mustBeName } from './name.ts'
import type { SandboxRecord } from './record.ts'
import { type Created, isAsIfNever, type StateChange } from './requests.ts'
import type { Snapshots } from './snapshots.ts'
import type { EndCause, Reverted } from './work.ts'

export interface RegistryOptions {
  readonly context: SandboxContext
  readonly snapshots: Snapshots
  readonly images: Pick<HostImages, 'admit'>
  readonly onChange: (change: StateChange) => void
}

/** A sandbox as it is now. */
export interface Listed {
  readonly sandbox: string
  readonly generation: number
  readonly state: SandboxState
}

export interface Child {
  readonly sandbox: string
  readonly generation: number
}

export interface Forked {
  readonly resolvedImage: string
  /** How long the parent stood still. */
  readonly pauseMs: number
  /** In the order asked. */
  readonly children: readonly { readonly sandbox: string; readonly createMs?: number; readonly error?: WireError }[]
}

/** Longer than any caller repeats a call. */
const rememberMs = 15 * 60_000
const maxRemembered = 4096
/** Answers of forks that are remembered. */
const maxForks = 256

export class Registry {
  readonly #options: RegistryOptions
  readonly #sandboxes = new Map<string, SandboxDriver>()
  /** Those that are over, oldest first, with the time. */
  readonly #over = new Map<SandboxDriver, number>()
  readonly #forks = new Map<string, Promise<Forked>>()
  /** A restored machine needs a core until its guest has answered. */
  readonly #gate = new BootGate(availableParallelism())
  #draining = false

  constructor(options: RegistryOptions) {
    this.#options = options
  }

  /** Boots a sandbox; resolves when its guest has confirmed who it is. */
  async create(id: string, generation: number, spec: SandboxSpec): Promise<Created> {
    return await this.#only(id, generation, () => {
      const { name, bring } = this.#options.images.admit(spec)
      return this.#start(id, generation, spec, name, { kind: 'new', ...(bring ? { bring } : {}) }).created
    })
  }

  /** A sandbox in the state of a snapshot. */
  async restore(id: string, generation: number, snapshot: string, spec: SandboxSpec): Promise<Created> {
    const known = this.#sandboxes.get(id)
    if (known?.generation === generation) return await known.created
    return await this.#options.snapshots.use(snapshot, async ({ state, env, verify }) => {
      mustFit(spec, state.shape)
      const whole = { ...spec, env: { ...env, ...spec.env } }
      const origin: Origin = { kind: 'state', state, verify, gate: this.#gate }
      const start = () => this.#start(id, generation, whole, state.shape.image.name, origin).created
      return await this.#only(id, generation, start)
    })
  }

  /** Children in the state that the sandbox is in now. Those that cannot come to be do not hold up the others. */
  async fork(id: string, generation: number, children: readonly Child[]): Promise<Forked> {
    const parent = this.#find(id, generation)
    const key = JSON.stringify([id, generation, children.map((child) => [child.sandbox, child.generation])])
    let answer = this.#forks.get(key)
    if (!answer) {
      answer = this.#fork(parent, children)
      this.#forks.set(key, answer)
      const [oldest] = this.#forks.keys()
      if (this.#forks.size > maxForks && oldest !== undefined) this.#forks.delete(oldest)
      // A fork that failed as a whole made nothing, so it can be tried again.
      answer.catch(() => this.#forks.delete(key))
    }
    return await answer
  }

  /** Keeps the state that the sandbox is in now. */
  async snapshot(id: string, generation: number, snapshot: string): Promise<{ sizeBytes: number }> {
    const sandbox = this.#findAwake(id, generation)
    return await this.#options.snapshots.save(
      snapshot,
      { generation, env: sandbox.spec.env },
      async () => (await sandbox.copy('snapshot')).state,
    )
  }

  async deleteSnapshot(snapshot: string): Promise<void> {
    await this.#options.snapshots.delete(snapshot)
  }

  /** Keeps the files of this moment beside the sandbox. */
  async checkpoint(id: string, generation: number, asked: CheckpointAsked): Promise<CheckpointMade> {
    mustBeName(asked.checkpoint)
    return await this.#findAwake(id, generation).checkpoint(asked)
  }

  async listCheckpoints(id: string, generation: number): Promise<readonly CheckpointListed[]> {
    return await this.#checkpointsOf(id, generation).list()
  }

  async waitForCheckpoint(id: string, generation: number, checkpoint: string): Promise<{ sizeBytes: number }> {
    mustBeName(checkpoint)
    return await this.#checkpointsOf(id, generation).wait(checkpoint)
  }

  /** Puts the files of a checkpoint back. */
  async restoreCheckpoint(id: string, generation: number, checkpoint: string): Promise<Reverted> {
    mustBeName(checkpoint)
    return await this.#findAwake(id, generation).revert(checkpoint)
  }

  async deleteCheckpoint(id: string, generation: number, checkpoint: string): Promise<void> {
    mustBeName(checkpoint)
    await this.#checkpointsOf(id, generation).delete(checkpoint)
  }

  async request(id: string, generation: number, asked: GuestRequest): Promise<GuestResponse> {
    return await this.#findAwake(id, generation).request(asked)
  }

  async connect(id: string, generation: number, port: number, signal: AbortSignal): Promise<Duplex> {
    return await this.#findAwake(id, generation).connect(port, signal)
  }

  async borrow(id: string, generation: number, port: number, options: BorrowOptions): Promise<Borrowed> {
    return await this.#findAwake(id, generation).borrow(port, options)
  }

  async update(id: string, generation: number, idleSeconds: number): Promise<void> {
    await this.#find(id, generation).update(idleSeconds)
  }

  async hibernate(id: string, generation: number): Promise<Usage> {
    return await this.#find(id, generation).hibernate()
  }

  async resume(id: string, generation: number): Promise<{ resumeMs: number }> {
    return { resumeMs: await this.#findAwake(id, generation).resume() }
  }

  async destroy(id: string, generation: number): Promise<Usage> {
    return await this.#find(id, generation).destroy()
  }

  async stats(id: string, generation: number): Promise<Usage> {
    return await this.#find(id, generation).stats()
  }

  /** All that are not destroyed. */
  list(): Listed[] {
    this.#forget()
    return [...this.#sandboxes.values()]
      .filter(({ state }) => !isFinal(state))
      .map(({ id, generation, state }) => ({ sandbox: id, generation, state }))
  }

  /** What its sandboxes are made of. */
  *images(): Generator<string> {
    for (const { state, resolvedImage } of this.#sandboxes.values()) if (!isFinal(state)) yield resolvedImage
  }

  /** Takes over what an earlier process of the runner left: with a machine that still runs, or as the record says. Resolves when that is settled. */
  async adopt(record: SandboxRecord, origin?: Origin): Promise<void> {
    const { sandbox: id, generation, spec, resolvedImage } = record
    await this.#start(id, generation, spec, resolvedImage, origin, record).created.catch(() => undefined)
  }

  /** From now on nothing new is created. */
  drain(): void {
    this.#draining = true
  }

  get draining(): boolean {
    return this.#draining
  }

  /** Destroys all sandboxes but those that are hibernated, which stay on disk; resolves when everything else of them is free. */
  async destroyAll(cause: EndCause): Promise<void> {
    this.drain()
    const all = [...this.#sandboxes.values()]
    await Promise.all(all.map((sandbox) => sandbox.destroy(cause)))
    await Promise.all(all.map((sandbox) => sandbox.over))
  }

  /** Runs `start` unless this generation is there already, after what an earlier one left is gone. */
  async #only(id: string, generation: number, start: () => Promise<Created>): Promise<Created> {
    this.#forget()
    mustBeName(id)
    const known = this.#sandboxes.get(id)
    if (known && known.generation > generation) throw moved()
    if (known && known.generation === generation) return await known.created
    if (this.#draining) throw new AppError('capacity', 'cannot create the sandbox on this runner: it is being stopped')
    if (known) await known.destroy()
    // Another create of the same sandbox may have been quicker.
    if (this.#sandboxes.get(id) !== known) return await this.#only(id, generation, start)
    return await start()
  }

  async #fork(parent: SandboxDriver, children: readonly Child[]): Promise<Forked> {
    const { resolvedImage } = parent
    const { onStep } = this.#options.context
    const missing = children.some((child) => this.#sandboxes.get(child.sandbox)?.generation !== child.generation)
    if (!missing)
      return { resolvedImage, pauseMs: 0, children: await Promise.all(children.map((child) => this.#born(child))) }
    if (this.#draining) throw new AppError('capacity', 'cannot fork the sandbox on this runner: it is being stopped')
    const { state, pauseMs } = await parent.copy('fork')
    try {
      const spec = parent.spec
      const origin: Origin = { kind: 'state', state, verify: async () => undefined, gate: this.#gate }
      const born = children.map(async (child) => {
        const start = () => this.#start(child.sandbox, child.generation, spec, resolvedImage, origin).created
        const told = await outcome(child, () => this.#only(child.sandbox, child.generation, start))
        await onStep?.('fork.child')
        return told
      })
      return { resolvedImage, pauseMs, children: await Promise.all(born) }
    } finally {
      await state.release()
      await onStep?.('fork.released')
    }
  }

  async #born(child: Child): Promise<Forked['children'][number]> {
    return await outcome(child, () => this.#find(child.sandbox, child.generation).created)
  }

  #start(
    id: string,
    generation: number,
    spec: SandboxSpec,
    resolvedImage: string,
    origin?: Origin,
    record?: SandboxRecord,
  ): SandboxDriver {
    const { context, onChange } = this.#options
    const sandbox: SandboxDriver = new SandboxDriver({
      id,
      generation,
      spec,
      resolvedImage,
      ...(origin ? { origin } : {}),
      ...(record ? { record } : {}),
      context,
      onChange: (change) => {
        if (isFinal(change.state)) this.#over.set(sandbox, context.clock.now())
        onChange(change)
      },
    })
    this.#sandboxes.set(id, sandbox)
    // One for which there was no place, or no image, never was: the same call may be made again.
    sandbox.created.catch((error: unknown) => {
      if (!record && isAsIfNever(error)) this.#drop(sandbox)
    })
    onChange({ sandbox: id, generation, state: sandbox.state, byItself: false })
    return sandbox
  }

  /** What sleeps while the runner is being stopped is left asleep: awake, it would be destroyed. */
  #findAwake(id: string, generation: number): SandboxDriver {
    const sandbox = this.#find(id, generation)
    const asleep = sandbox.state === 'hibernating' || sandbox.state === 'hibernated'
    if (this.#draining && asleep)
      throw new AppError('capacity', 'cannot resume the sandbox on this runner: it is being stopped')
    return sandbox
  }

  /** Of a sandbox in any state but the last ones. */
  #checkpointsOf(id: string, generation: number): Checkpoints {
    const { state, checkpoints } = this.#find(id, generation)
    if (state !== 'destroying' && !isFinal(state)) return checkpoints
    throw new AppError('sandbox_not_running', 'cannot use the checkpoints of the sandbox: it is destroyed')
  }

  #find(id: string, generation: number): SandboxDriver {
    const sandbox = this.#sandboxes.get(id)
    if (!sandbox) throw new AppError('sandbox_not_found', 'cannot find the sandbox on this runner')
    if (sandbox.generation !== generation) throw moved()
    return sandbox
  }

  /** Drops what ended long ago, and the oldest if there are very many. */
  #forget(): void {
    const now = this.#options.context.clock.now()
    for (const [sandbox, at] of this.#over) {
      if (now - at < rememberMs && this.#over.size <= maxRemembered) return
      this.#drop(sandbox)
    }
  }

  #drop(sandbox: SandboxDriver): void {
    this.#over.delete(sandbox)
    if (this.#sandboxes.get(sandbox.id) === sandbox) this.#sandboxes.delete(sandbox.id)
  }
}

async function outcome(child: Child, create: () => Promise<Created>): Promise<Forked['children'][number]> {
  try {
    return { sandbox: child.sandbox, createMs: (await create()).createMs }
  } catch (thrown) {
    return { sandbox: child.sandbox, error: AppError.from(thrown, 'cannot create the child').toWire() }
  }
}

/** A state goes on in a machine like the one that it was saved from; only its disk may be larger. */
function mustFit(spec: SandboxSpec, shape: { vcpus: number; memoryMib: number; diskMib: number }): void {
  if (spec.vcpus === shape.vcpus && spec.mem_mib === shape.memoryMib && spec.disk_mib >= shape.diskMib) return
  const machine = `${shape.vcpus} vCPUs, ${shape.memoryMib} MiB of memory and a disk of ${shape.diskMib} MiB or more`
  throw new AppError('invalid_request', `cannot restore the snapshot: it needs ${machine}`)
}

function moved(): AppError {
  return new AppError('moved', 'cannot use the sandbox here: this runner holds another generation of it')
}
