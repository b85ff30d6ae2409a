/**
 * The workers of one account in one region: their sockets, and what they invoke. A worker is a connection; a client that comes back brings the token of the
 * worker that it was, and gets what that one did not get.
 *
 *   invocation:  begun ──▶ under way ──its function ends──▶ answered, and kept until the client has it
 *                              └──the object is interrupted──▶ on wake: what its function makes of that (`interrupted`), an error otherwise
 *
 * One without an id, or whose action is `void`, is never answered: it is kept under an id that is made up, until it is over. The object may lose its memory at any moment; what is under way lives in memory alone, so
 * what the store says is under way and memory does not know was interrupted.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { base32, newRequestId } from '@portico/shared/ids'
import type { RequestLeases } from '../account/request-lease.ts'
import { hashSecret } from '../auth/tokens.ts'
import type { Objects } from '../ports.ts'
import type { Begun, IiiStore } from '../store/iii.ts'
import type { InvocationContext, Trace } from './context.ts'
import type { Origin } from './context-of.ts'
import { answered, type Ending, type Invoke, mostFrameBytes, readFrame, registered, triggerRefused } from './frames.ts'
import type { IiiFunction } from './functions.ts'
import { endingOf, failed, invoked } from './invoke.ts'
import type { Join, WorkerNote } from './join.ts'
import type { WorkerKeys } from './keys.ts'

/** Of one worker, and of all together. */
const mostUnderWay = 64
const mostTogether = 512
/** Characters of all frames under way: the longest one beside some that are short. */
const mostChars = mostFrameBytes + 1_048_576
const mostWorkers = 512
/** While something is under way an alarm is never further off: an object that is interrupted wakes by it. */
const guardMs = 10_000
/** How often a worker's frames are taken for a sign of what has arrived. */
const noticeMs = 30_000

/** A worker's end of a socket. `send` throws once it is closed. */
export interface WorkerSocket {
  readonly note: WorkerNote
  send(frame: string): void
  close(code: number, reason: string): void
}

export interface EngineOptions {
  readonly store: IiiStore
  readonly functions: ReadonlyMap<string, IiiFunction>
  readonly keys: WorkerKeys
  readonly requests: RequestLeases
  readonly objects: Objects
  readonly clock: Clock
  /** The open sockets of a worker: one, or none. */
  sockets(worker: string): readonly WorkerSocket[]
  /** How many workers there are. */
  count(): number
  context(origin: Origin): InvocationContext
  /** Keeps the object at it until the work is done. */
  background(work: Promise<void>): void
  /** Something to look after at that time. */
  wakeAt(at: number): void
}

/** An invocation under way. Its worker changes when its client comes back. */
interface UnderWay {
  worker: string
  readonly id: string
  /** Is not answered. */
  readonly silent: boolean
  readonly functionId: string
  readonly trace: Trace
  readonly chars: number
}

export class Engine {
  readonly #options: EngineOptions
  readonly #underWay = new Set<UnderWay>()
  /** When a worker's frames were last taken notice of. */
  readonly #noticed = new Map<string, number>()

  constructor(options: EngineOptions) {
    this.#options = options
  }

  /** A worker that comes in; what is answered is to be kept with its socket before `welcome`. */
  async admit(join: Join): Promise<{ note: WorkerNote; token: string }> {
    if (this.#options.count() >= mostWorkers) {
      throw new AppError('overloaded', `cannot take the worker: there are ${mostWorkers} already`)
    }
    const token = base32(crypto.getRandomValues(new Uint8Array(32)))
    const note = { ...join, worker: crypto.randomUUID() }
    this.#options.store.addWorker(note.worker, await hashSecret(token), JSON.stringify(note))
    return { note, token }
  }

  /** Its first frame. */
  welcome(socket: WorkerSocket, token: string): void {
    socket.send(registered(socket.note.worker, token))
  }

  message(socket: WorkerSocket, message: ArrayBuffer | string): void {
    const text = typeof message === 'string' ? message : ''
    if (text.length > mostFrameBytes) {
      socket.close(1009, 'the frame is too long')
      return
    }
    this.#notice(socket.note.worker)
    const frame = readFrame(text)
    switch (frame?.type) {
      case 'invokefunction':
        this.#begin(socket, frame, text.length)
        break
      case 'reattach':
        this.#options.background(this.#reattach(socket, frame.previous_worker_id, frame.reattach_token))
        break
      case 'registertrigger':
        tell(socket, triggerRefused(frame))
        break
      case 'unreadable':
        tell(socket, answered(frame.id, '', failed('invocation_failed', 'serialization error: the frame'), {}))
    }
  }

  left(worker: string): void {
    const { store, clock } = this.#options
    this.#noticed.delete(worker)
    store.away(worker, clock.now())
    this.#arm()
  }

  /** The object has woken: whatever was under way is no more, and whoever left meanwhile has left. */
  recover(): void {
    const { store, clock, sockets, background } = this.#options
    for (const worker of store.present()) if (sockets(worker).length === 0) store.away(worker, clock.now())
    const begun = store.begun()
    for (const one of begun) background(this.#interrupted(one))
    if (begun.length > 0) this.#arm()
  }

  /** When the object has to be awake; undefined while there is nothing to do. */
  next(): number | undefined {
    const { store, clock } = this.#options
    const expiry = store.nextExpiry()
    if (this.#underWay.size === 0) return expiry
    return Math.min(clock.now() + guardMs, expiry ?? Number.POSITIVE_INFINITY)
  }

  /** Forgets what has been kept for long enough. */
  expire(): void {
    this.#options.store.expire(this.#options.clock.now())
  }

  #begin(socket: WorkerSocket, frame: Invoke, chars: number): void {
    const { store, clock, background } = this.#options
    const { worker } = socket.note
    const silent = frame.action?.type === 'void' || frame.invocation_id == null
    const id = silent ? crypto.randomUUID() : (frame.invocation_id ?? '')
    const { traceparent, baggage } = frame
    const trace = {
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(baggage === undefined ? {} : { baggage }),
    }
    const state = silent ? 'new' : store.stateOf(worker, id)
    if (state === 'ended') this.#deliver(worker, id)
    if (state !== 'new') return
    const refusal = this.#noRoom(worker, chars)
    if (refusal !== undefined) {
      if (!silent) tell(socket, answered(id, frame.function_id, refusal, trace))
      return
    }
    const one: UnderWay = { worker, id, silent, functionId: frame.function_id, trace, chars }
    const told = JSON.stringify(trace)
    store.begin({ worker, id, function: one.functionId, trace: told, silent: silent ? 1 : 0 }, clock.now())
    background(this.#run(one, () => this.#invoke(socket, one, frame)))
  }

  #noRoom(worker: string, chars: number): Ending | undefined {
    let own = 0
    let together = chars
    for (const one of this.#underWay) {
      if (one.worker === worker) own++
      together += one.chars
    }
    if (own < mostUnderWay && this.#underWay.size < mostTogether && together <= mostChars) return undefined
    return failed('overloaded', 'cannot begin: too many invocations are under way; try again')
  }

  /** Runs to the ending, and answers. */
  async #run(one: UnderWay, work: () => Promise<Ending>): Promise<void> {
    this.#underWay.add(one)
    this.#arm()
    const ending = await work()
    this.#underWay.delete(one)
    const { worker, id, functionId, trace } = one
    const { store, clock } = this.#options
    if (one.silent) return store.drop(worker, id)
    const frame = answered(id, functionId, ending, trace)
    const isTooLong = frame.length > mostFrameBytes
    const why = failed('invocation_failed', 'the result is too long for a frame')
    store.end(worker, id, isTooLong ? answered(id, functionId, why, trace) : frame, clock.now())
    this.#deliver(worker, id)
    this.#arm()
  }

  async #invoke(socket: WorkerSocket, one: UnderWay, frame: Invoke): Promise<Ending> {
    const { keys, requests, objects, functions } = this.#options
    const { caller, key } = socket.note
    const over = new AbortController()
    try {
      const { scope, requestsPerSecond } = await keys.check(key)
      await requests.take(objects, caller.account, requestsPerSecond)
      return await invoked(functions, frame, this.#contextOf(one, { principal: caller, scope, signal: over.signal }))
    } catch (thrown) {
      const { code, message } = AppError.from(thrown)
      // Told first, then shown out: the client learns of a key that is over by its next connection being refused.
      if (code === 'unauthorized') setTimeout(() => socket.close(1008, 'the API key is over'), 0)
      return failed(code === 'unauthorized' ? 'FORBIDDEN' : code, message)
    } finally {
      over.abort()
    }
  }

  #contextOf(one: UnderWay, who: Pick<Origin, 'principal' | 'scope' | 'signal'>): InvocationContext {
    const { store } = this.#options
    const makes = (sandbox: string) => {
      store.makes(one.worker, one.id, sandbox)
    }
    return this.#options.context({ ...who, requestId: newRequestId(), trace: one.trace, makes })
  }

  /** Ends what the object was interrupted in. */
  async #interrupted({ worker, id, function: functionId, trace, sandbox, silent }: Begun): Promise<void> {
    const { store, functions } = this.#options
    const one: UnderWay = { worker, id, silent: silent === 1, functionId, trace: JSON.parse(trace) as Trace, chars: 0 }
    const called = functions.get(functionId)
    const note = store.noteOf(worker)
    const caller = note === undefined ? undefined : (JSON.parse(note) as WorkerNote).caller
    await this.#run(one, async () => {
      const why = new AppError(
        'overloaded',
        'cannot finish the call: the platform interrupted it; it may or may not be done',
      )
      if (called?.interrupted === undefined || caller === undefined) return endingOf(why, called)
      const over = new AbortController()
      try {
        const context = this.#contextOf(one, { principal: caller, scope: 'full', signal: over.signal })
        return { result: await called.interrupted(sandbox, context) }
      } catch (thrown) {
        return endingOf(thrown, called)
      } finally {
        over.abort()
      }
    })
  }

  /** The client of a worker that was is back as another. */
  async #reattach(socket: WorkerSocket, previous: string, token: string): Promise<void> {
    const { store, sockets, clock } = this.#options
    const { worker } = socket.note
    const owner = store.reattach(previous, await hashSecret(token), worker, clock.now())
    if (owner === undefined) return
    for (const one of this.#underWay) if (one.worker === owner) one.worker = worker
    for (const old of sockets(owner)) old.close(1000, 'its client is back')
    for (const id of store.ended(worker)) this.#deliver(worker, id)
  }

  /** Sends a kept answer, if there is a socket to send it to. */
  #deliver(worker: string, id: string): void {
    const { store, sockets, clock } = this.#options
    const [socket] = sockets(worker)
    if (socket === undefined) return
    try {
      const lost = store.lost(worker, id)
      const why = failed('overloaded', 'the result had to make room for others before its client came back')
      const instead = lost && answered(id, lost.function, why, JSON.parse(lost.trace) as Trace)
      socket.send(instead ?? store.answer(worker, id))
      store.sent(worker, id, clock.now())
    } catch {
      // It closed this moment: the answer is kept until the client is back.
    }
  }

  #notice(worker: string): void {
    const { store, clock } = this.#options
    const now = clock.now()
    if (now - (this.#noticed.get(worker) ?? 0) < noticeMs) return
    this.#noticed.set(worker, now)
    store.alive(worker, now)
  }

  #arm(): void {
    const at = this.next()
    if (at !== undefined) this.#options.wakeAt(at)
  }
}

/** Of one that closed this moment the client asks again, or is away. */
function tell(socket: WorkerSocket, frame: string): void {
  try {
    socket.send(frame)
  } catch {
    // It is gone.
  }
}
