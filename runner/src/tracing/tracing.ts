/**
 * Spans of creates and execs on this runner, each under the span of the edge's call. Without an endpoint nothing is made and OpenTelemetry is not
 * loaded: a `traceparent` is checked and handed on as it came. No command, no environment, no output is ever in an attribute.
 *
 *   span ──run answers or throws──▶ ended ──a moment later──▶ sent with others, or given up
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import { parseTraceparent } from '@portico/shared/traceparent'
import type { Logger } from '../log.ts'

export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

/** A span under way. */
export interface OpenSpan {
  /** The `traceparent` of what it starts. */
  readonly trace: string
  /** What became known on the way. */
  note(attributes: Attributes): void
  /** A span below it. */
  child(name: string, attributes: Attributes): OpenSpan
  /** The first end counts; of a failure its code is told. */
  end(failure?: unknown): void
}

export interface Tracer {
  /** Begins a span below the edge's, or a trace. */
  open(name: string, parent: string | undefined, attributes: Attributes): OpenSpan
  /** Sends what waits, within the exporter's limits. */
  close(): Promise<void>
}

export interface TracingOptions {
  /** Where OTLP/HTTP is taken; without one nothing is exported. */
  readonly endpoint: string | undefined
  readonly version: string
  readonly log: Logger
}

/** What runs within a span sees of it. */
export interface Traced {
  readonly trace: string | undefined
  note(attributes: Attributes): void
  /** It failed, though nothing is thrown. */
  fail(failure: unknown): void
}

/** No span: only the trace that goes on. */
export function untraced(trace?: string): Traced {
  return { trace, note: () => undefined, fail: () => undefined }
}

const current = new AsyncLocalStorage<OpenSpan>()

export class Tracing {
  readonly #tracer: Tracer | undefined

  constructor(tracer?: Tracer) {
    this.#tracer = tracer
  }

  /** Loads what exports, if anything is to be. */
  static async open({ endpoint, ...options }: TracingOptions): Promise<Tracing> {
    if (endpoint === undefined) return new Tracing()
    const { otlpTracer } = await import('./otlp.ts')
    return new Tracing(otlpTracer({ endpoint, ...options }))
  }

  /** Runs it within a span below `trace`, which is ignored where it is malformed. */
  async within<Value>(
    name: string,
    trace: string | undefined,
    attributes: Attributes,
    run: (span: Traced) => Promise<Value>,
  ): Promise<Value> {
    const parent = parseTraceparent(trace)
    if (this.#tracer === undefined) return await run(untraced(parent))
    return await inside(this.#tracer.open(name, parent, attributes), run)
  }

  async close(): Promise<void> {
    await this.#tracer?.close()
  }
}

/** Runs a part of an operation within a span of its own, where the operation has one. */
export async function part<Value>(
  name: string,
  attributes: Attributes,
  run: (span: Traced) => Promise<Value>,
): Promise<Value> {
  const above = current.getStore()
  if (above === undefined) return await run(untraced())
  return await inside(above.child(name, attributes), run)
}

async function inside<Value>(span: OpenSpan, run: (span: Traced) => Promise<Value>): Promise<Value> {
  try {
    const within = {
      trace: span.trace,
      note: (attributes: Attributes) => span.note(attributes),
      fail: (why: unknown) => span.end(why),
    }
    const value = await current.run(span, () => run(within))
    span.end()
    return value
  } catch (thrown) {
    span.end(thrown)
    throw thrown
  }
}
