/**
 * One image's state in force. Every change is stored before anything else happens; the work itself is in memory alone, so an eviction ends it,
 * and the alarm finds that out.
 *
 *                  ┌─ refused by its account ──▶ forgotten
 *   (none) ──▶ pending ──admitted──▶ pulling | building ──▶ ready
 *                                         └── failed, broken off, interrupted ──▶ failed
 *
 *   any ──deleted──▶ forgotten; what is under way is cancelled and the sandbox that it is built in destroyed
 *
 * `ready` is told by the last event once the account's index knows it, so that whoever hears of it can create by its name.
 */

import type { ImageEvent, ImageRecord } from '@portico/shared/api'
import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { newRequestId } from '@portico/shared/ids'
import { logFailure } from '../log.ts'
import { unwrap } from '../outcome.ts'
import { fromPlatform, reach } from '../platform-errors.ts'
import type { NewImage, Objects } from '../ports.ts'
import { endSandbox } from './create.ts'
import { type ImageState, imageEntry, isUnderWay, type Made, newImage, nextLook, publicImage } from './state.ts'
import type { Work } from './work.ts'

export interface ImageStore {
  get(): ImageState | undefined
  put(state: ImageState): void
  /** Undefined takes the alarm away. */
  setAlarm(at: number | undefined): void
  clear(): Promise<void>
}

export interface ImageLifeOptions {
  readonly store: ImageStore
  readonly objects: Objects
  readonly clock: Clock
  /** Adds to the image's events. */
  readonly tell: (event: ImageEvent) => void
  /** Keeps the object awake until the work is done. */
  readonly background: (work: Promise<unknown>) => void
  /** Pulls or builds it. */
  readonly make: (work: Omit<Work, 'env' | 'services'>, input: NewImage) => Promise<Made>
}

export class ImageLife {
  readonly #options: ImageLifeOptions
  #state: ImageState | undefined
  #beginning: Promise<ImageRecord> | undefined
  #flight: Promise<void> | undefined
  #telling: Promise<void> | undefined
  readonly #abort = new AbortController()

  constructor(options: ImageLifeOptions) {
    this.#options = options
    this.#state = options.store.get()
  }

  get state(): ImageState | undefined {
    return this.#state
  }

  /** Begins to make it. Asked again it answers how it is. */
  async begin(input: NewImage): Promise<ImageRecord> {
    const { account, region } = input
    if (this.#abort.signal.aborted) throw deleted()
    if (this.#state !== undefined) {
      if (this.#state.account !== account || this.#state.region !== region) {
        throw new AppError('conflict', 'cannot make the image: its id is in use')
      }
      return this.#beginning ?? publicImage(this.#state)
    }
    this.#beginning = this.#begin(input).finally(() => {
      this.#beginning = undefined
    })
    return this.#beginning
  }

  async #begin(input: NewImage): Promise<ImageRecord> {
    const { clock, objects, background } = this.#options
    const pending = this.#put(newImage(input, clock.now()))
    const asked = reach('begin the image', objects.account(input.account).beginImage(imageEntry(pending)))
    const admitted = await asked.catch((thrown) => {
      // The account may have noted it.
      this.#change({ status: 'failed', code: 'overloaded', reason: AppError.from(thrown).message })
      background(this.finish())
      throw thrown
    })
    if (!admitted.ok) await this.#forget()
    unwrap(admitted)
    if (this.#state === undefined) throw deleted()
    const begun = this.#put({ ...pending, status: pending.kind === 'pull' ? 'pulling' : 'building', told: 1 })
    this.#flight = this.#make(input).finally(() => {
      this.#flight = undefined
    })
    background(this.#flight)
    return publicImage(begun)
  }

  async #make(input: NewImage): Promise<void> {
    try {
      const made = await this.#options.make(this.#work(input), input)
      this.#change({ status: 'ready', made })
    } catch (thrown) {
      const { code, message } = this.#known(fromPlatform(thrown, 'make the image'))
      this.#change({ status: 'failed', code, reason: message })
    }
    if (!this.#abort.signal.aborted) await this.finish()
  }

  /** Cancels what is under way and forgets everything; its account has forgotten it already. */
  async drop(): Promise<void> {
    this.#abort.abort(deleted())
    await this.#flight?.catch(() => undefined)
    // One that cannot be ended now ends by itself, as nobody uses it.
    const sandbox = this.#state?.sandbox ?? null
    if (sandbox !== null) await this.#end(sandbox).catch(() => undefined)
    if (this.#state !== undefined) await this.#forget()
  }

  /** The alarm: fails what was interrupted, and goes on with what is left to do. */
  async wake(): Promise<void> {
    if (this.#state === undefined) return
    if (isUnderWay(this.#state) && this.#flight === undefined && this.#beginning === undefined) {
      const code = this.#state.kind === 'pull' ? 'image_pull_failed' : 'build_failed'
      const action = this.#state.kind === 'pull' ? 'pull' : 'build'
      this.#change({ status: 'failed', code, reason: `cannot ${action} the image: it was interrupted; try again` })
    }
    if (!isUnderWay(this.#state)) await this.finish()
    this.#look()
  }

  /** Ends the sandbox of a build, tells the account, and says the last word. What cannot be done now the alarm does. */
  finish(): Promise<void> {
    this.#telling ??= this.#finish()
      .catch((thrown) => logFailure('finish the image', fromPlatform(thrown, 'finish the image')))
      .finally(() => {
        this.#telling = undefined
      })
    return this.#telling
  }

  async #finish(): Promise<void> {
    const { objects } = this.#options
    while (this.#state !== undefined && this.#state.told < this.#state.version) {
      const entry = imageEntry(this.#state)
      const isKnown = unwrap(await reach('tell the account', objects.account(this.#state.account).tellImage(entry)))
      if (this.#state === undefined) return
      if (!isKnown) {
        if (this.#state.sandbox !== null) await this.#end(this.#state.sandbox)
        return await this.#forget()
      }
      this.#put({ ...this.#state, told: entry.version })
    }
    if (this.#state !== undefined && !this.#state.closed) this.#close(this.#state)
    if (this.#state !== undefined && this.#state.sandbox !== null) await this.#end(this.#state.sandbox)
  }

  #close(state: ImageState): void {
    const image = publicImage(state)
    if (state.status === 'ready') this.#options.tell({ event: 'ready', image })
    else this.#options.tell({ event: 'failed', error: image.reason ?? '', code: image.code ?? 'internal' })
    this.#put({ ...state, closed: true })
  }

  async #end(sandbox: string): Promise<void> {
    const { account, region } = this.#state ?? { account: '', region: '' }
    await endSandbox(this.#options.objects, { account, region }, sandbox)
    if (this.#state !== undefined) this.#put({ ...this.#state, sandbox: null })
  }

  #work({ image, account, region }: NewImage): Omit<Work, 'env' | 'services'> {
    const { objects, clock, tell } = this.#options
    const { signal } = this.#abort
    return {
      ...{ id: image, principal: { account, region }, objects, clock, signal, requestId: newRequestId() },
      tell: (event) => {
        if (!signal.aborted) tell(event)
      },
      builds: (sandbox) => {
        if (this.#state !== undefined) this.#put({ ...this.#state, sandbox: sandbox === '' ? null : sandbox })
      },
    }
  }

  /** What went wrong on our side is logged and not shown. */
  #known(error: AppError): AppError {
    if (error.code === 'internal') logFailure('make the image', error)
    return error
  }

  /** What comes after it was deleted changes nothing. */
  #change(patch: Partial<ImageState>): void {
    if (this.#state === undefined || this.#abort.signal.aborted) return
    this.#put({ ...this.#state, ...patch, version: this.#state.version + 1 })
  }

  #put(state: ImageState): ImageState {
    this.#state = state
    this.#options.store.put(state)
    this.#look()
    return state
  }

  #look(): void {
    const { store, clock } = this.#options
    if (this.#state !== undefined) store.setAlarm(nextLook(this.#state, clock.now()))
  }

  async #forget(): Promise<void> {
    this.#state = undefined
    await this.#options.store.clear()
  }
}

function deleted(): AppError {
  return new AppError('image_not_found', 'cannot make the image: it was deleted meanwhile')
}
