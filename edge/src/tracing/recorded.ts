/**
 * The exporting half of `traced`: a span by OpenTelemetry's own SDK, which runs on workerd as it stands. Loaded by the first call that needs it.
 * A span is ended here and nowhere else; what becomes of it then is `export.ts`'s.
 */

import {
  type Attributes as Known,
  type Span as OtelSpan,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { parseTraceParent, W3CTraceContextPropagator } from '@opentelemetry/core'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { TracerProvider } from '@opentelemetry/sdk-trace'
import { AppError } from '@portico/shared/errors'
import { inBackground } from '../durable/background.ts'
import { SpanPost } from './export.ts'
import type { Attributes, Span, SpanName, Traced } from './span.ts'

const propagator = new W3CTraceContextPropagator()
const resource = resourceFromAttributes({ 'service.name': 'portico-edge' })

/** Of this isolate, and of the settings of its deployment, which an isolate never sees change. */
let post: SpanPost | undefined
let provider: TracerProvider | undefined

/** Runs it within a span; a throw is the span's error, and goes on. */
export async function recorded<Answer>(
  { env, requestId }: Traced,
  parent: string | undefined,
  name: SpanName,
  attributes: Attributes,
  run: (span: Span) => Promise<Answer>,
): Promise<Answer> {
  post ??= new SpanPost(env)
  provider ??= new TracerProvider({ resource, spanProcessors: [post] })
  const caller = parent === undefined ? null : parseTraceParent(parent)
  const above = caller === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { ...caller, isRemote: true })
  const options = {
    kind: SpanKind.SERVER,
    attributes: given({ 'portico.request.id': requestId, ...attributes }),
  }
  const span = new Recorded(provider.getTracer('portico').startSpan(name, options, above), post)
  try {
    const answer = await run(span)
    if (!span.held) span.end()
    return answer
  } catch (thrown) {
    span.end(thrown)
    throw thrown
  }
}

class Recorded implements Span {
  readonly trace: string | undefined
  readonly #span: OtelSpan
  readonly #post: SpanPost
  #held = false
  #ended = false

  constructor(span: OtelSpan, post: SpanPost) {
    this.#span = span
    this.#post = post
    const carrier: Record<string, string> = {}
    const set = {
      set: (into: Record<string, string>, key: string, value: string) => Object.assign(into, { [key]: value }),
    }
    propagator.inject(trace.setSpan(ROOT_CONTEXT, span), carrier, set)
    this.trace = carrier.traceparent
  }

  note(attributes: Attributes): void {
    this.#span.setAttributes(given(attributes))
  }

  hold(): (failure?: unknown) => void {
    this.#held = true
    return (failure) => this.end(failure)
  }

  /** Whether something else than the call's answer ends it. */
  get held(): boolean {
    return this.#held
  }

  /** The first end counts. Of a failure its code is told, never its words: they may name what the caller's command names. */
  end(failure?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    if (failure !== undefined) {
      this.#span.setAttribute('error.type', AppError.from(failure).code)
      this.#span.setStatus({ code: SpanStatusCode.ERROR })
    }
    this.#span.end()
    inBackground('export spans', this.#post.sent())
  }
}

function given(attributes: Attributes): Known {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined)) as Known
}
