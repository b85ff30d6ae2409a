/** Undo and deadlines. A function that takes a resource registers its undo in the next line and throws having freed all. */

import { AppError } from './errors.ts'

/** Undo steps: run once, last in first out, every one of them even if others fail; what is added late runs at once. */
export class Cleanup {
  #steps: { name: string; run: () => unknown }[] = []
  #done: Promise<void> | undefined

  /** Registers an undo step; `name` says in an error what was being freed. */
  add(name: string, run: () => unknown): void {
    if (this.#done !== undefined)
      void Promise.resolve()
        .then(run)
        .catch(() => undefined)
    else this.#steps.push({ name, run })
  }

  /** Runs all steps. Rejects with an AggregateError of those that failed. The same promise for every caller. */
  run(): Promise<void> {
    this.#done ??= this.#runAll()
    return this.#done
  }

  async #runAll(): Promise<void> {
    const failures: Error[] = []
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.run()
      } catch (cause) {
        failures.push(new Error(`cannot free ${step.name}`, { cause }))
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map((failure) => failure.message).join('; '))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.run()
  }
}

/**
 * A signal that aborts with the first of the given ones, or with `deadline` after `ms`. The timer does not keep a process alive; disposing of the
 * signal (`using limit = deadline(…)`) takes the timer back once the work is done.
 */
export function deadline(ms: number, what: string, ...signals: (AbortSignal | undefined)[]): AbortSignal & Disposable {
  const late = new AbortController()
  const timer: unknown = setTimeout(
    () => late.abort(new AppError('deadline', `cannot ${what}: not done within ${ms} ms`)),
    ms,
  )
  if (typeof timer === 'object' && timer !== null && 'unref' in timer && typeof timer.unref === 'function')
    timer.unref()
  const signal = AbortSignal.any([late.signal, ...signals.filter((one) => one !== undefined)])
  const stop = () => clearTimeout(timer as Parameters<typeof clearTimeout>[0])
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  return Object.assign(signal, { [Symbol.dispose]: stop })
}

/** The value of `promise`, or a rejection with the signal's reason as soon as it aborts. The promise itself goes on. */
export function abortable<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  if (signal.aborted) {
    promise.catch(() => undefined)
    return Promise.reject(signal.reason)
  }
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
