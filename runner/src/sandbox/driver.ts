/**
 * One sandbox on this runner. Everything that happens to it and everything that is asked of it goes through one inbox; one loop takes from it and is
 * the only writer of the state. What takes long (booting, copying, falling asleep, waking up) is work beside the loop, one at a time, which ends as
 * something that has happened: so a destroy can always cut in.
 *
 *              ready               hibernate, idle           saved
 *   creating ─────────▶ running ────────────────▶ hibernating ─────▶ hibernated
 *                         ▲  ▲                        │ kept           │  ▲
 *                         │  └────────────────────────┘         resume │  │ kept
 *                         └────────── ready ────── resuming ◀──────────┘  │
 *                                                     └───────────────────┘
 *   any of these ── failed ──▶ error           any of these, and error ── destroy, idle, drain ──▶ destroying ──▶ destroyed
 *
 * In `error` everything of the machine is already free; the state stays until somebody destroys it. Whether a request is allowed is decided by
 * `shared/lifecycle`. It owns its machine, its place on the runner, its record and saved state, its idle timer and its meter. A hibernated one is left
 * as it is, on disk, when the runner is stopped.
 */

import type { Duplex } from 'node:stream'
import type { SandboxSpec } from '@portico/shared/control'
import { abortable } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { after, isFinal, type SandboxRequest, type SandboxState, request as verdictOn } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import { type CheckpointAsked, type CheckpointMade, Checkpoints } from '../checkpoint/checkpoints.ts'
import type { GuestRequest, GuestResponse } from '../guest/http.ts'
import { type Borrowed, PortPool } from '../port/pool.ts'
import type { SandboxContext } from './birth.ts'
import type { Copy } from './copy.ts'
import * as calls from './guest-calls.ts'
import { Holding } from './holding.ts'
import { Inbox } from './inbox.ts'
import { noUsage } from './meter.ts'
import { RecordFile } from './record-file.ts'
import {
  type Asked,
  type AskedToDestroy,
  type AskedToUpdate,
  type AskedToWork,
  type Created,
  codeOf,
  endReason,
  isAsIfNever,
  requestOf,
  type SandboxOptions,
} from './requests.ts'
import type { Answer, EndCause, Held, Outcome, Reverted } from './work.ts'
import * as work from './work.ts'

type Happened = Outcome | { readonly kind: 'broken'; readonly held: Held; readonly reason: string }
type Happening<Kind extends Happened['kind']> = Extract<Happened, { kind: Kind }>

interface Work {
  readonly abort: AbortController
  /** Resolves when what it came to is in the inbox. */
  readonly over: Promise<void>
}

export class SandboxDriver {
  readonly id: string
  readonly generation: number
  /** Resolves when the sandbox may be used for the first time; rejects if it never will. The same for everybody who asks. */
  readonly created: Promise<Created>
  /** Resolves when the sandbox is destroyed and all of it is free, or left on disk by a runner that is being stopped. */
  readonly over: Promise<void>
  readonly checkpoints: Checkpoints
  readonly #options: SandboxOptions
  readonly #context: SandboxContext
  readonly #inbox = new Inbox<Happened, Asked>()
  readonly #creation = Promise.withResolvers<Created>()
  readonly #record: RecordFile
  readonly #holding: Holding
  readonly #ports: PortPool
  #state: SandboxState
  #reason: string | undefined
  #work: Work | undefined
  #waking: Promise<number> | undefined
  #resumeMs = 0
  /** A checkpoint is being restored: nobody may use the machine that stands still, nor the one that comes up. */
  #reverting = false
  /** Restores that were asked for and are not over, by checkpoint. */
  readonly #reverts = new Map<string, Promise<Reverted>>()
  #left = false
  #breaking = false
  #moved = Promise.withResolvers<void>()

  /** Begins to create the sandbox at once, if it has an origin. */
  constructor(options: SandboxOptions) {
    const { id, generation, spec, resolvedImage, record, origin, context } = options
    this.#options = options
    this.#context = context
    this.id = id
    this.generation = generation
    const facts = { sandbox: id, generation, spec, resolvedImage }
    this.#record = new RecordFile(context.paths.sandbox(id), facts, record)
    this.checkpoints = new Checkpoints({
      paths: context.paths.sandbox(id),
      onStep: context.onStep,
      onTrouble: (error) => this.#log(error, 'sandbox.checkpoint'),
    })
    if (record) void this.checkpoints.recover()
    this.#ports = new PortPool(context.clock)
    this.#holding = new Holding(context.clock, record?.usage ?? noUsage)
    this.#state = origin || !record || record.state === 'running' ? 'creating' : record.state
    if (record?.state === 'error') this.#reason = record.reason
    this.created = this.#creation.promise
    this.created.catch(() => undefined)
    if (record && !origin) this.#creation.resolve({ resolvedImage, createMs: record.createMs })
    if (origin) this.#begin((signal) => work.create(this.#parts, origin, signal))
    this.over = this.#run()
  }

  get state(): SandboxState {
    return this.#state
  }

  /** Why it is in the state it is in, where that needs one. */
  get reason(): string | undefined {
    return this.#reason
  }

  get spec(): SandboxSpec {
    return this.#record.spec
  }

  get resolvedImage(): string {
    return this.#record.facts.resolvedImage
  }

  /** Sends one request to the guest; counts as activity until its answer was read. Wakes the sandbox where its owner wants that. */
  async request(asked: GuestRequest): Promise<GuestResponse> {
    return await calls.request(await this.#use(asked.signal), asked)
  }

  /** A connection to a server in the guest; counts as activity until it is closed. Wakes the sandbox as a request does. */
  async connect(port: number, signal: AbortSignal): Promise<Duplex> {
    return await calls.connect(await this.#use(signal), port, signal)
  }

  /** The same for one HTTP request, `fresh` or kept from another; counts as activity until it is given back or closed. */
  async borrow(port: number, options: calls.BorrowOptions): Promise<Borrowed> {
    return await calls.borrow(await this.#use(options.signal), this.#ports, port, options)
  }

  /** Changes after how many idle seconds it is destroyed or hibernated; 0 is never. */
  update(seconds: number): Promise<void> {
    return this.#ask((answer: Answer<void>) => ({ kind: 'update', seconds, answer }))
  }

  /** Its state at one moment, while it runs on. */
  copy(what: 'fork' | 'snapshot'): Promise<Copy> {
    return this.#askAwake((answer: Answer<Copy>) => ({ kind: 'copy', what, answer }))
  }

  /** Keeps its files of one moment, while it runs on. */
  checkpoint(asked: CheckpointAsked): Promise<CheckpointMade> {
    return this.#askAwake((answer: Answer<CheckpointMade>) => ({ kind: 'checkpoint', asked, answer }))
  }

  /** Puts the files of a checkpoint back, in another machine. Whoever asks for the same one meanwhile gets the same answer. */
  revert(checkpoint: string): Promise<Reverted> {
    const known = this.#reverts.get(checkpoint)
    if (known !== undefined) return known
    const asked = this.#askAwake((answer: Answer<Reverted>) => ({ kind: 'revert', checkpoint, answer }))
    const over = asked.finally(() => this.#reverts.delete(checkpoint))
    this.#reverts.set(checkpoint, over)
    return over
  }

  /** Keeps its state and frees its machine; resolves with the usage so far. */
  hibernate(): Promise<Usage> {
    return this.#ask((answer: Answer<Usage>) => ({ kind: 'hibernate', cause: 'asked', answer }))
  }

  /** Resolves when it may be used again, with how long that took. */
  resume(): Promise<number> {
    return this.#ask((answer: Answer<number>) => ({ kind: 'resume', byItself: false, answer }))
  }

  /** Frees everything; resolves with the final usage. Repeated calls get the same answer. A drain leaves a hibernated one as it is. */
  destroy(cause: EndCause = 'asked'): Promise<Usage> {
    if (this.#isOver) return Promise.resolve(this.#holding.usage)
    return this.#ask((answer: Answer<Usage>) => ({ kind: 'destroy', cause, answer }))
  }

  /** Usage so far, or the final one. */
  async stats(): Promise<Usage> {
    return await this.#holding.read()
  }

  get #isOver(): boolean {
    return this.#left || isFinal(this.#state)
  }

  #ask<Value>(make: (answer: Answer<Value>) => Asked): Promise<Value> {
    const answer = Promise.withResolvers<Value>()
    const asked = make(answer)
    if (this.#isOver) void this.#onAsked(asked)
    else this.#inbox.request(asked)
    return answer.promise
  }

  /** For what needs its machine, and counts as activity. */
  async #askAwake<Value>(make: (answer: Answer<Value>) => Asked): Promise<Value> {
    await this.#awake('copy')
    const end = this.#holding.idle?.begin()
    try {
      return await this.#ask(make)
    } finally {
      end?.()
    }
  }

  /** The way to its guest, and what ends the activity that this begins. */
  async #use(signal: AbortSignal): Promise<calls.Use> {
    await this.#awake('use', signal)
    if (this.#reverting)
      throw new AppError('sandbox_busy', 'cannot use the sandbox: a checkpoint of it is being restored')
    // While it is being freed it is still running by name.
    const link = this.#holding.held?.ready.link
    if (!link) throw new AppError('sandbox_not_running', 'cannot use the sandbox: it is not running')
    return { link, endActivity: this.#holding.idle?.begin() ?? (() => undefined) }
  }

  /** Resolves when a request of this kind may go ahead; wakes a sandbox whose owner wants that. */
  async #awake(asked: 'use' | 'copy', signal = never): Promise<void> {
    while (this.#record.spec.auto_resume && !this.#left) {
      if (this.#state === 'hibernating') await abortable(this.#moved.promise, signal)
      else if (this.#state === 'hibernated' || this.#state === 'resuming') await abortable(this.#wake(), signal)
      else break
    }
    this.#check(asked)
  }

  /** One attempt for all who want it at the same time. */
  #wake(): Promise<number> {
    this.#waking ??= this.#ask((answer: Answer<number>) => ({ kind: 'resume', byItself: true, answer })).finally(() => {
      this.#waking = undefined
    })
    return this.#waking
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      const input = await this.#inbox.next((asked) => this.#isDue(asked))
      if ('event' in input) await this.#onHappened(input.event)
      else await this.#onAsked(input.request)
    }
    for (const asked of this.#inbox.takeRequests()) await this.#onAsked(asked)
  }

  /** Whether a request can be looked at now: work waits for the work before it, a drain for a sandbox that falls asleep. */
  #isDue(asked: Asked): boolean {
    if (asked.kind === 'update') return true
    if (asked.kind === 'destroy') return asked.cause !== 'drain' || this.#state !== 'hibernating'
    return !this.#work || verdictOn(this.#state, requestOf(asked)).kind === 'denied'
  }

  #begin(run: (signal: AbortSignal) => Promise<Happened>): void {
    const abort = new AbortController()
    this.#work = { abort, over: run(abort.signal).then((event) => this.#inbox.event(event)) }
  }

  /** Ends the work that is under way and takes in what it came to. */
  async #interrupt(reason: AppError): Promise<void> {
    this.#work?.abort.abort(reason)
    await this.#work?.over
    for (const event of this.#inbox.takeEvents()) await this.#onHappened(event)
  }

  get #parts(): work.WorkParts {
    return { context: this.#context, record: this.#record, checkpoints: this.checkpoints }
  }

  async #onHappened(event: Happened): Promise<void> {
    if (event.kind !== 'broken') {
      this.#work = undefined
      this.#reverting = false
    }
    switch (event.kind) {
      case 'ready':
        return this.#onReady(event)
      case 'not-created':
        return await this.#onNotCreated(event.error)
      case 'copied':
        if (event.broken !== undefined) await this.#fail(event.broken)
        return
      case 'asleep':
        return this.#onAsleep(event)
      case 'awake':
        return this.#onAwake(event)
      case 'reverted':
        this.#take(event.held)
        return event.asked.answer.resolve(event.reverted)
      case 'kept':
        return this.#onKept(event)
      case 'lost':
        await this.#fail(event.error.message, event.error)
        return event.reject(event.error)
      case 'broken':
        return await this.#onBroken(event.held, event.reason)
    }
  }

  #onReady({ held, createMs }: Happening<'ready'>): void {
    this.#take(held)
    this.#move(after(this.#state, 'ready'))
    if (this.#state === 'running') this.#creation.resolve({ resolvedImage: this.resolvedImage, createMs })
  }

  async #onNotCreated(error: AppError): Promise<void> {
    // Nothing of it came to be, so nothing is left to be destroyed.
    const nothing = isAsIfNever(error) && !this.#options.record
    this.#creation.reject(error)
    if (nothing) this.#move(after(this.#state, 'ended'))
    else await this.#fail(error.message, error)
  }

  #onAsleep({ usage, asked }: Happening<'asleep'>): void {
    this.#holding.asleep(usage)
    this.#move(after(this.#state, 'saved'), { byItself: asked.cause === 'idle' })
    asked.answer.resolve(usage)
  }

  #onAwake({ held, resumeMs, asked }: Happening<'awake'>): void {
    this.#resumeMs = resumeMs
    this.#take(held)
    this.#move(after(this.#state, 'ready'), { byItself: asked.byItself })
    asked.answer.resolve(resumeMs)
  }

  #take(held: Held): void {
    void held.ready.broken.then((reason) => this.#inbox.event({ kind: 'broken', held, reason }))
    this.#holding.take(held, { seconds: this.#record.spec.idle_timeout, onIdle: () => this.#onIdle() })
  }

  #onIdle(): void {
    if (this.#record.spec.on_idle === 'destroy') void this.destroy('idle')
    else this.#ask((answer: Answer<Usage>) => ({ kind: 'hibernate', cause: 'idle', answer })).catch(() => undefined)
  }

  #onKept({ error, byItself, reject }: Happening<'kept'>): void {
    // A machine that is gone is not kept, and its sandbox never seems to run again.
    if (!this.#breaking) this.#move(after(this.#state, 'kept'), { byItself })
    if (this.#state === 'running') this.#holding.idle?.restart()
    if (byItself) this.#log(error, 'sandbox.kept')
    reject(error)
  }

  async #onBroken(held: Held, reason: string): Promise<void> {
    const error = new AppError('sandbox_failed', `cannot go on: ${reason}`)
    if (this.#holding.held !== held) return
    this.#breaking = true
    await this.#interrupt(error)
    this.#breaking = false
    if (this.#holding.held === held) await this.#fail(reason, error)
  }

  /** Frees the machine and keeps the reason. */
  async #fail(reason: string, error = new AppError('sandbox_failed', `cannot go on: ${reason}`)): Promise<void> {
    if (this.#state === 'destroying' || this.#isOver || this.#state === 'error') return
    await this.#free(error)
    await this.#record.failed(this.#holding.usage, reason).catch((cause: unknown) => this.#log(cause, 'sandbox.record'))
    // Whoever created it is answered; nobody waits for what happens later.
    this.#move(after(this.#state, 'failed'), { reason, byItself: this.#record.current !== undefined })
  }

  async #onAsked(asked: Asked): Promise<void> {
    switch (asked.kind) {
      case 'update':
        return await this.#onUpdate(asked)
      case 'destroy':
        return await this.#onDestroy(asked)
      case 'copy':
        return this.#attempt(asked, () => this.#begin((signal) => work.copy(this.#parts, asked, this.#mine, signal)))
      case 'checkpoint':
        return this.#attempt(asked, () =>
          this.#begin((signal) => work.checkpoint(this.#parts, asked, this.#mine, signal)),
        )
      case 'revert':
        return this.#attempt(asked, () => this.#onRevert(asked))
      case 'hibernate':
        return this.#attempt(asked, () => this.#onHibernate(asked))
      case 'resume':
        return this.#attempt(asked, () => this.#onResume(asked))
    }
  }

  /** Runs what was asked for if it is allowed now. */
  #attempt(asked: AskedToWork, run: () => void): void {
    try {
      this.#check(requestOf(asked))
      run()
    } catch (error) {
      asked.answer.reject(error)
    }
  }

  /** Its machine, where the state says that it has one. */
  get #mine(): Held {
    return this.#holding.held as Held
  }

  #onRevert(asked: work.AskedToRevert): void {
    this.#reverting = true
    this.#begin((signal) => work.revert(this.#parts, asked, this.#mine, signal))
  }

  #onHibernate(asked: work.AskedToHibernate): void {
    const verdict = verdictOn(this.#state, 'hibernate')
    // Somebody used the sandbox after its idle time had run out and before this loop came to it.
    if (verdict.kind !== 'accepted' || (asked.cause === 'idle' && this.#holding.idle?.expired !== true)) {
      asked.answer.resolve(this.#holding.usage)
      return
    }
    this.#holding.idle?.stop()
    this.#move(verdict.next)
    this.#begin((signal) => work.hibernate(this.#parts, asked, this.#mine, signal))
  }

  #onResume(asked: work.AskedToResume): void {
    const verdict = verdictOn(this.#state, 'resume')
    if (verdict.kind !== 'accepted') {
      asked.answer.resolve(this.#resumeMs)
      return
    }
    this.#move(verdict.next)
    this.#begin((signal) => work.resume(this.#parts, asked, this.#holding.usage, this.#holding.link, signal))
  }

  async #onUpdate({ seconds, answer }: AskedToUpdate): Promise<void> {
    try {
      this.#check('update')
      this.#holding.idle?.update(seconds)
      await this.#record.setIdleTimeout(seconds)
      answer.resolve()
    } catch (error) {
      answer.reject(AppError.from(error))
    }
  }

  async #onDestroy({ cause, answer }: AskedToDestroy): Promise<void> {
    if (cause === 'idle' && this.#holding.idle?.expired !== true) return answer.resolve(this.#holding.usage)
    if (cause === 'drain' && (await this.#leave())) return answer.resolve(this.#holding.usage)
    const verdict = verdictOn(this.#state, 'destroy')
    if (verdict.kind === 'accepted') await this.#end(verdict.next, cause)
    answer.resolve(this.#holding.usage)
  }

  /** A hibernated sandbox outlives its runner. */
  async #leave(): Promise<boolean> {
    if (this.#state === 'resuming')
      await this.#interrupt(new AppError('capacity', 'cannot resume it here: its runner is being stopped'))
    if (this.#state !== 'hibernated') return false
    this.#holding.link?.close(new AppError('sandbox_hibernated', 'cannot go on: its runner was stopped'))
    this.#left = true
    this.#moved.resolve()
    await this.checkpoints.close()
    return true
  }

  async #end(next: SandboxState, cause: EndCause): Promise<void> {
    const reason = endReason(cause, this.#record.spec.idle_timeout)
    this.#move(next, reason === undefined ? {} : { reason })
    const gone = new AppError('sandbox_not_running', 'cannot go on: the sandbox was destroyed')
    await this.#interrupt(gone)
    this.#creation.reject(gone)
    await this.checkpoints.close()
    // First, so that a crash in between leaves a machine that nobody knows, and not a sandbox that nobody wants.
    await this.#record.remove().catch((error: unknown) => this.#log(error, 'sandbox.free'))
    await this.#free(gone)
    this.#move(after(this.#state, 'ended'), {
      byItself: cause !== 'asked',
      ...(reason === undefined ? {} : { reason }),
    })
  }

  /** Takes the last measure and gives everything back; the next start of the runner finds what could not be freed. */
  async #free(error: AppError): Promise<void> {
    await this.#holding.free(error).catch((cause: unknown) => this.#log(cause, 'sandbox.free'))
  }

  #check(asked: SandboxRequest): void {
    if (this.#left) throw new AppError('sandbox_not_running', `cannot ${asked} the sandbox: its runner was stopped`)
    const verdict = verdictOn(this.#state, asked)
    if (verdict.kind !== 'denied') return
    const failed = this.#state === 'error'
    const why = failed && this.#reason !== undefined ? this.#reason : verdict.reason
    throw new AppError(codeOf(this.#state, asked), `cannot ${asked} the sandbox: ${why}`)
  }

  #log(error: unknown, what: string): void {
    this.#context.log.error({ sandbox: this.id, error }, what)
  }

  /** The only place that changes the state. */
  #move(state: SandboxState, facts: { reason?: string; byItself?: boolean } = {}): void {
    if (state === this.#state) return
    this.#state = state
    this.#moved.resolve()
    this.#moved = Promise.withResolvers()
    if (facts.reason !== undefined) this.#reason = facts.reason
    const { id: sandbox, generation } = this
    const told = isFinal(state) || state === 'error' || state === 'hibernated'
    this.#options.onChange({
      sandbox,
      generation,
      state,
      byItself: facts.byItself ?? false,
      ...(facts.reason === undefined ? {} : { reason: facts.reason }),
      ...(told ? { usage: this.#holding.usage } : {}),
    })
  }
}

const never = new AbortController().signal
