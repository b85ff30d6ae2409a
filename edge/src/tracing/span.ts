/**
 * Spans of creates and execs at the front door. Whoever serves one runs it within `traced`, and hands `span.trace` on: `callGuest`'s request and the
 * inputs of create, restore and fork have a field `trace`. For the surfaces:
 *
 *   traced(call, 'sandbox.exec', { 'portico.sandbox.id': id }, (span) => …): the answer of the function; a throw is the span's error, and goes on
 *   `call` is any `Call`, or { env, traceparent, requestId }; `createRun`, `restoreRun`, `forkRun`, `exec` and `execStream` have a span already: give
 *   them the caller's traceparent as `call.traceparent` where it did not come as a header of `call.request`
 *   span.trace: the `traceparent` to hand on, the span's own where spans are exported, else the caller's; undefined where there is none
 *
 * Without OTEL_EXPORTER_OTLP_ENDPOINT nothing is made and nothing is loaded: a caller's `traceparent` is checked and handed on as it came.
 * No command, no environment, no output, and no key is ever in an attribute.
 */

import { parseTraceparent } from '@portico/shared/traceparent'
import type { Env } from '../env.ts'

export type SpanName = 'sandbox.create' | 'sandbox.restore' | 'sandbox.fork' | 'sandbox.exec'
export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

export interface Span {
  /** The `traceparent` that goes along. */
  readonly trace: string | undefined
  /** What became known on the way. */
  note(attributes: Attributes): void
  /** From now on the span lasts until the function that this answers is called, not only until the call is answered. */
  hold(): (failure?: unknown) => void
}

/** Where a span begins: a `Call`, or what a surface without requests knows of one. */
export interface Traced {
  readonly env: Pick<Env, 'OTEL_EXPORTER_OTLP_ENDPOINT' | 'OTEL_EXPORTER_OTLP_HEADERS'>
  readonly requestId?: string
  readonly request?: Request
  /** The caller's, where it did not come as a header of the request. */
  readonly traceparent?: string
}

/** Runs a create or an exec within a span of its own, where spans are exported. */
export function traced<Answer>(
  from: Traced,
  name: SpanName,
  attributes: Attributes,
  run: (span: Span) => Promise<Answer>,
): Promise<Answer> {
  const parent = parseTraceparent(from.traceparent ?? from.request?.headers.get('traceparent'))
  if (from.env.OTEL_EXPORTER_OTLP_ENDPOINT) return exported(from, parent, name, attributes, run)
  return run(parent === undefined ? untraced : { ...untraced, trace: parent })
}

const untraced: Span = { trace: undefined, note: () => undefined, hold: () => () => undefined }

/** The exporting half is loaded by the first call that needs it. */
async function exported<Answer>(
  from: Traced,
  parent: string | undefined,
  name: SpanName,
  attributes: Attributes,
  run: (span: Span) => Promise<Answer>,
): Promise<Answer> {
  const { recorded } = await import('./recorded.ts')
  return await recorded(from, parent, name, attributes, run)
}
