/**
 * One piece of work that several callers wait for. Each hears how far it is, from the last step on; a caller's signal ends only its own wait, and the
 * work itself when nobody waits any more.
 */

interface Waiter<Step> {
  readonly onStep: (step: Step) => void
}

export class SharedWork<Value, Step> {
  readonly #controller = new AbortController()
  readonly #waiters = new Set<Waiter<Step>>()
  readonly #value: Promise<Value>
  #last: Step | undefined

  /** Begins at once. */
  constructor(begin: (signal: AbortSignal, onStep: (step: Step) => void) => Promise<Value>) {
    this.#value = begin(this.#controller.signal, (step) => {
      this.#last = step
      for (const waiter of this.#waiters) waiter.onStep(step)
    })
    this.#value.catch(() => undefined)
  }

  /** Whether it can still be joined: nobody has ended it. */
  get open(): boolean {
    return !this.#controller.signal.aborted
  }

  /** Settles when the work has, however it ended. */
  async settled(): Promise<void> {
    await this.#value.catch(() => undefined)
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  /** Waits for it. The last waiter that is aborted ends the work, and resolves only once it has ended. */
  async join(signal: AbortSignal | undefined, onStep: (step: Step) => void): Promise<Value> {
    signal?.throwIfAborted()
    const waiter: Waiter<Step> = { onStep }
    this.#waiters.add(waiter)
    if (this.#last !== undefined) onStep(this.#last)
    const left = Promise.withResolvers<never>()
    left.promise.catch(() => undefined)
    const onAbort = () => {
      this.#waiters.delete(waiter)
      if (this.#waiters.size > 0) left.reject(signal?.reason)
      else this.#controller.abort(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([this.#value, left.promise])
    } catch (error) {
      throw signal?.aborted ? signal.reason : error
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#waiters.delete(waiter)
    }
  }
}

/** The work of this key that is under way, or a new one, which is in `under way` until it settles. */
export function joinOrBegin<Value, Step>(
  underWay: Map<string, SharedWork<Value, Step>>,
  key: string,
  begin: (signal: AbortSignal, onStep: (step: Step) => void) => Promise<Value>,
): SharedWork<Value, Step> {
  const known = underWay.get(key)
  if (known?.open) return known
  const work = new SharedWork(begin)
  underWay.set(key, work)
  void work.settled().then(() => {
    if (underWay.get(key) === work) underWay.delete(key)
  })
  return work
}
