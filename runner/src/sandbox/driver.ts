/**
 * One sandbox on this runner. Everything that happens to it and everything that is asked of it goes through one inbox; one loop takes from it and is
 * the only writer of the state. What has happened is looked at first.
 *
 *              booted, identity confirmed             destroy, idle, drain
 *   creating ─────────────────────────────▶ running ───────────────────────▶ destroying ──▶ destroyed
 *      │  │                                    │                                ▲  ▲
 *      │  └── boot failed ──▶ error ◀── ended ─┘                                │  │
 *      │                        └────────────────────── destroy ────────────────┘  │
 *      └──────────────────────────────── destroy ──────────────────────────────────┘
 *
 * In `error` everything of the machine is already free; the state stays until somebody destroys it. Whether a request is allowed is decided by
 * `shared/lifecycle`. It owns its machine, its place on the runner, its idle timer and its meter.
 */

import type { Clock } from '@portico/shared/clock'
import type { SandboxSpec } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { after, isFinal, type SandboxRequest, type SandboxState, request as verdictOn } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import type { Reservation } from '../capacity.ts'
import type { GuestRequest, GuestResponse } from '../guest/http.ts'
import { IdleTimer } from './idle.ts'
import { Inbox } from './inbox.ts'
import { Meter, noUsage } from './meter.ts'
import { type PhaseContext, PreparedVm, type ReadyVm } from './phases.ts'

/** Who wants a sandbox gone. */
export type EndCause = 'asked' | 'idle' | 'drain'

export interface Created {
  readonly resolvedImage: string
  readonly createMs: number
}

/** What a sandbox tells when its state changes. */
export interface StateChange {
  readonly sandbox: string
  readonly generation: number
  readonly state: SandboxState
  /** It happened without being asked for: somebody has to be told. */
  readonly byItself: boolean
  readonly reason?: string
  readonly usage?: Usage
}

export interface SandboxOptions {
  readonly id: string
  readonly generation: number
  readonly spec: SandboxSpec
  readonly resolvedImage: string
  readonly reservation: Reservation
  readonly context: PhaseContext
  readonly onChange: (change: StateChange) => void
}

type Happened =
  | { readonly kind: 'booted'; readonly ready: ReadyVm }
  | { readonly kind: 'boot-failed'; readonly error: AppError }
  | { readonly kind: 'broken'; readonly reason: string }

type Asked =
  | { readonly kind: 'update'; readonly seconds: number; readonly answer: PromiseWithResolvers<void> }
  | { readonly kind: 'destroy'; readonly cause: EndCause; readonly answer: PromiseWithResolvers<Usage> }

export class SandboxDriver {
  readonly id: string
  readonly generation: number
  /** Resolves when the sandbox may be used; rejects if it never will. The same for everybody who asks. */
  readonly created: Promise<Created>
  /** Resolves when the sandbox is destroyed and all of it is free. */
  readonly destroyed: Promise<void>
  readonly #options: SandboxOptions
  readonly #clock: Clock
  readonly #inbox = new Inbox<Happened, Asked>()
  readonly #creation = Promise.withResolvers<Created>()
  readonly #startedAt: number
  readonly #booting = new AbortController()
  /** Settles when nothing of a boot is under way any more. */
  readonly #bootOver: Promise<void>
  #idleSeconds: number
  #state: SandboxState = 'creating'
  #reason: string | undefined
  #ready: ReadyVm | undefined
  #meter: Meter | undefined
  #idle: IdleTimer | undefined
  #usage: Usage = noUsage

  /** Begins to create the sandbox at once. */
  constructor(options: SandboxOptions) {
    this.#options = options
    this.id = options.id
    this.generation = options.generation
    this.#clock = options.context.clock
    this.#startedAt = performance.now()
    this.#idleSeconds = options.spec.idle_timeout
    this.created = this.#creation.promise
    this.created.catch(() => undefined)
    this.#bootOver = this.#boot()
    this.destroyed = this.#run()
  }

  get state(): SandboxState {
    return this.#state
  }

  /** Why it is in the state it is in, where that needs one. */
  get reason(): string | undefined {
    return this.#reason
  }

  /** Sends one request to the guest; counts as activity until its answer was read. */
  async request(asked: GuestRequest): Promise<GuestResponse> {
    const ready = this.#ready
    this.#check('use')
    if (!ready || !this.#idle) throw new AppError('sandbox_not_running', 'cannot use the sandbox: it is not running')
    const endActivity = this.#idle.begin()
    const end = () => {
      asked.signal.removeEventListener('abort', end)
      endActivity()
    }
    asked.signal.addEventListener('abort', end)
    try {
      const response = await ready.link.request(asked)
      return { ...response, body: thenRun(response.body, end) }
    } catch (error) {
      end()
      throw error
    }
  }

  /** Changes after how many idle seconds it is destroyed; 0 is never. */
  update(seconds: number): Promise<void> {
    const answer = Promise.withResolvers<void>()
    if (isFinal(this.#state)) this.#onUpdate(seconds, answer)
    else this.#inbox.request({ kind: 'update', seconds, answer })
    return answer.promise
  }

  /** Frees everything; resolves with the final usage. Repeated calls get the same answer. */
  destroy(cause: EndCause = 'asked'): Promise<Usage> {
    if (isFinal(this.#state)) return Promise.resolve(this.#usage)
    const answer = Promise.withResolvers<Usage>()
    this.#inbox.request({ kind: 'destroy', cause, answer })
    return answer.promise
  }

  /** Usage so far, or the final one. */
  async stats(): Promise<Usage> {
    return this.#state === 'running' && this.#meter ? await this.#meter.read() : this.#usage
  }

  async #run(): Promise<void> {
    while (!isFinal(this.#state)) {
      const input = await this.#inbox.next()
      if ('event' in input) await this.#onHappened(input.event)
      else await this.#onAsked(input.request)
    }
    for (const asked of this.#inbox.takeRequests()) await this.#onAsked(asked)
  }

  async #boot(): Promise<void> {
    const { spec, id, generation, reservation, context, resolvedImage } = this.#options
    const vm = {
      id,
      generation,
      slot: reservation.slot,
      image: resolvedImage,
      vcpus: spec.vcpus,
      memoryMib: spec.mem_mib,
      diskMib: spec.disk_mib,
    }
    try {
      const booted = await new PreparedVm(context, vm).boot(this.#booting.signal)
      const ready = await booted.identify({ sandbox: id, env: spec.env }, this.#booting.signal)
      this.#inbox.event({ kind: 'booted', ready })
    } catch (thrown) {
      this.#inbox.event({ kind: 'boot-failed', error: AppError.from(thrown, 'cannot create the sandbox') })
    }
  }

  async #onHappened(event: Happened): Promise<void> {
    switch (event.kind) {
      case 'booted':
        return this.#onBooted(event.ready)
      case 'boot-failed':
        this.#move(after(this.#state, 'failed'), { reason: event.error.message })
        this.#options.reservation.release()
        return this.#creation.reject(event.error)
      case 'broken':
        if (this.#state !== 'running') return
        await this.#free(new AppError('sandbox_failed', `cannot go on: ${event.reason}`))
        return this.#move(after(this.#state, 'failed'), { reason: event.reason, byItself: true })
    }
  }

  #onBooted(ready: ReadyVm): void {
    this.#ready = ready
    this.#meter = new Meter(ready.vm, this.#clock)
    this.#idle = new IdleTimer(this.#clock, this.#idleSeconds, () => void this.destroy('idle'))
    void ready.broken.then((reason) => this.#inbox.event({ kind: 'broken', reason }))
    this.#move(after(this.#state, 'ready'))
    const createMs = Math.round(performance.now() - this.#startedAt)
    this.#creation.resolve({ resolvedImage: this.#options.resolvedImage, createMs })
  }

  async #onAsked(asked: Asked): Promise<void> {
    if (asked.kind === 'update') return this.#onUpdate(asked.seconds, asked.answer)
    // Somebody used the sandbox after its idle time had run out and before this loop came to it.
    if (asked.cause === 'idle' && this.#idle?.expired !== true) return asked.answer.resolve(this.#usage)
    const verdict = verdictOn(this.#state, 'destroy')
    if (verdict.kind === 'accepted') await this.#onDestroy(verdict.next, asked.cause)
    asked.answer.resolve(this.#usage)
  }

  #onUpdate(seconds: number, answer: PromiseWithResolvers<void>): void {
    try {
      this.#check('update')
      this.#idleSeconds = seconds
      this.#idle?.update(seconds)
      answer.resolve()
    } catch (error) {
      answer.reject(error)
    }
  }

  async #onDestroy(next: SandboxState, cause: EndCause): Promise<void> {
    const reason = endReason(cause, this.#idleSeconds)
    this.#move(next, reason === undefined ? {} : { reason })
    const gone = new AppError('sandbox_not_running', 'cannot go on: the sandbox was destroyed')
    this.#booting.abort(gone)
    await this.#bootOver
    await this.#takeLateBoot(gone)
    await this.#free(gone)
    this.#move(after(this.#state, 'ended'), {
      byItself: cause !== 'asked',
      ...(reason === undefined ? {} : { reason }),
    })
  }

  /** A boot that finished while its sandbox was being destroyed left its machine in the inbox. */
  async #takeLateBoot(gone: AppError): Promise<void> {
    for (const event of this.#inbox.takeEvents()) if (event.kind === 'booted') await event.ready.unwind(gone)
    this.#creation.reject(gone)
  }

  /** Takes the last measure and gives everything back. */
  async #free(error: AppError): Promise<void> {
    this.#idle?.stop()
    try {
      if (this.#meter) this.#usage = await this.#meter.finish()
      await this.#ready?.unwind(error)
    } catch (cause) {
      // The next start of the runner finds what could not be freed.
      this.#options.context.log.error({ sandbox: this.id, error: cause }, 'sandbox.free')
    }
    this.#ready = undefined
    this.#options.reservation.release()
  }

  #check(asked: SandboxRequest): void {
    const verdict = verdictOn(this.#state, asked)
    if (verdict.kind !== 'denied') return
    const failed = this.#state === 'error'
    const why = failed && this.#reason !== undefined ? this.#reason : verdict.reason
    throw new AppError(failed ? 'sandbox_failed' : 'sandbox_not_running', `cannot ${asked} the sandbox: ${why}`)
  }

  /** The only place that changes the state. */
  #move(state: SandboxState, facts: { reason?: string; byItself?: boolean } = {}): void {
    if (state === this.#state) return
    this.#state = state
    if (facts.reason !== undefined) this.#reason = facts.reason
    const { id: sandbox, generation } = this
    const over = isFinal(state) || state === 'error'
    this.#options.onChange({
      sandbox,
      generation,
      state,
      byItself: facts.byItself ?? false,
      ...(facts.reason === undefined ? {} : { reason: facts.reason }),
      ...(over ? { usage: this.#usage } : {}),
    })
  }
}

function endReason(cause: EndCause, idleSeconds: number): string | undefined {
  switch (cause) {
    case 'asked':
      return undefined
    case 'idle':
      return `idle for ${idleSeconds} s`
    case 'drain':
      return 'its runner was stopped'
  }
}

async function* thenRun(body: AsyncIterable<Uint8Array>, run: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } finally {
    run()
  }
}
