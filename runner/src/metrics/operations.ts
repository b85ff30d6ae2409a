/** What the edge asks of this runner, watched: a span where it is traced, a count and a time where figures are served. With neither it costs two looks. */

import { type Attributes, type Traced, Tracing, untraced } from '../tracing/tracing.ts'
import type { Metrics } from './metrics.ts'

export type Operation =
  | 'create'
  | 'restore'
  | 'fork'
  | 'snapshot'
  | 'hibernate'
  | 'resume'
  | 'destroy'
  | 'exec'
  | 'image_pull'

/** Operations that are spans; the others are counted alone. */
const spans: Partial<Record<Operation, string>> = {
  create: 'sandbox.create',
  restore: 'sandbox.restore',
  fork: 'sandbox.fork',
  exec: 'sandbox.exec',
}

export class Operations {
  readonly #tracing: Tracing
  #metrics: Metrics | undefined

  constructor(tracing: Tracing = new Tracing()) {
    this.#tracing = tracing
  }

  /** From now on operations are counted there. */
  countIn(metrics: Metrics): void {
    this.#metrics = metrics
  }

  /** Runs one; `trace` is the `traceparent` of the edge's call. */
  async run<Value>(
    operation: Operation,
    trace: string | undefined,
    attributes: Attributes,
    run: (span: Traced) => Promise<Value>,
  ): Promise<Value> {
    const start = performance.now()
    const name = spans[operation]
    let failure: unknown
    const attempt = (span: Traced) =>
      run({
        ...span,
        fail: (why) => {
          failure = why
          span.fail(why)
        },
      })
    try {
      const value = await (name === undefined
        ? attempt(untraced())
        : this.#tracing.within(name, trace, attributes, attempt))
      this.#metrics?.count(operation, start, failure)
      return value
    } catch (thrown) {
      this.#metrics?.count(operation, start, thrown)
      throw thrown
    }
  }
}
