/**
 * The sandboxes of this runner, by id. Every call names a generation: a runner that holds another one answers `moved`, but a create of a later
 * generation replaces what the earlier one left. Calls may be repeated, as an answer may get lost on its way: a create that exists and a destroy that
 * is done answer the same again. Sandboxes that ended are remembered for a while for that.
 */

import type { SandboxSpec } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { isFinal, type SandboxState } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import { resolveImage } from '../assets.ts'
import type { Capacity } from '../capacity.ts'
import type { GuestRequest, GuestResponse } from '../guest/http.ts'
import { type Created, type EndCause, SandboxDriver, type StateChange } from './driver.ts'
import type { PhaseContext } from './phases.ts'

export interface RegistryOptions {
  readonly context: PhaseContext
  readonly capacity: Capacity
  readonly imageAliases: Readonly<Record<string, string>>
  readonly onChange: (change: StateChange) => void
}

/** A sandbox as it is now. */
export interface Listed {
  readonly sandbox: string
  readonly generation: number
  readonly state: SandboxState
}

/** Longer than any caller repeats a call. */
const rememberMs = 15 * 60_000
const maxRemembered = 4096

export class Registry {
  readonly #options: RegistryOptions
  readonly #sandboxes = new Map<string, SandboxDriver>()
  /** Those that are over, oldest first, with the time. */
  readonly #over = new Map<SandboxDriver, number>()
  #draining = false

  constructor(options: RegistryOptions) {
    this.#options = options
  }

  /** Boots a sandbox; resolves when its guest has confirmed who it is. */
  async create(id: string, generation: number, spec: SandboxSpec): Promise<Created> {
    this.#forget()
    const known = this.#sandboxes.get(id)
    if (known && known.generation > generation) throw moved()
    if (known && known.generation === generation) return await known.created
    if (this.#draining) throw new AppError('capacity', 'cannot create the sandbox on this runner: it is being stopped')
    if (known) await known.destroy()
    // Another create of the same sandbox may have been quicker.
    if (this.#sandboxes.get(id) !== known) return await this.create(id, generation, spec)
    return await this.#start(id, generation, spec).created
  }

  async request(id: string, generation: number, asked: GuestRequest): Promise<GuestResponse> {
    return await this.#find(id, generation).request(asked)
  }

  async update(id: string, generation: number, idleSeconds: number): Promise<void> {
    await this.#find(id, generation).update(idleSeconds)
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

  /** From now on nothing new is created. */
  drain(): void {
    this.#draining = true
  }

  get draining(): boolean {
    return this.#draining
  }

  /** Destroys all sandboxes; resolves when everything of them is free. */
  async destroyAll(cause: EndCause): Promise<void> {
    this.drain()
    const all = [...this.#sandboxes.values()]
    await Promise.all(all.map((sandbox) => sandbox.destroy(cause)))
    await Promise.all(all.map((sandbox) => sandbox.destroyed))
  }

  #start(id: string, generation: number, spec: SandboxSpec): SandboxDriver {
    const { context, capacity, imageAliases, onChange } = this.#options
    const resolvedImage = resolveImage(spec.image, [...context.driver.images.keys()], imageAliases)
    if (resolvedImage === undefined)
      throw new AppError('image_unknown', `cannot create the sandbox: there is no image ${spec.image}`)
    const sandbox = new SandboxDriver({
      id,
      generation,
      spec,
      resolvedImage,
      reservation: capacity.reserve(spec.mem_mib + context.driver.overheadMib),
      context,
      onChange: (change) => {
        if (isFinal(change.state) || change.state === 'error') this.#over.set(sandbox, context.clock.now())
        onChange(change)
      },
    })
    this.#sandboxes.set(id, sandbox)
    onChange({ sandbox: id, generation, state: sandbox.state, byItself: false })
    return sandbox
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
      this.#over.delete(sandbox)
      if (this.#sandboxes.get(sandbox.id) === sandbox) this.#sandboxes.delete(sandbox.id)
    }
  }
}

function moved(): AppError {
  return new AppError('moved', 'cannot use the sandbox here: this runner holds another generation of it')
}
