/** Spans by OpenTelemetry's own SDK and exporter. It is loaded only where an endpoint is set. */

import {
  type Context,
  DiagLogLevel,
  diag,
  type Attributes as Known,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { parseTraceParent, W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { AppError } from '@portico/shared/errors'
import type { Logger } from '../log.ts'
import type { Attributes, OpenSpan, Tracer, TracingOptions } from './tracing.ts'

/** So long an ended span waits for others to go with. */
const gatherMs = 250
const limitMs = 10_000
/** What cannot be exported is told of so often at most. */
const quietMs = 60_000
const propagator = new W3CTraceContextPropagator()

/** Makes what sends spans to `endpoint`. The exporter itself reads OTEL_EXPORTER_OTLP_HEADERS. */
export function otlpTracer({ endpoint, version, log }: TracingOptions & { endpoint: string }): Tracer {
  tellTroubles(log)
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces`, timeoutMillis: limitMs })
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'portico-runner', 'service.version': version }),
    spanProcessors: [new BatchSpanProcessor({ exporter, scheduledDelayMillis: gatherMs })],
  })
  const tracer = provider.getTracer('portico')
  return {
    open: (name, parent, attributes) => {
      const options = { kind: SpanKind.SERVER, attributes: given(attributes) }
      return new OtlpSpan(tracer, tracer.startSpan(name, options, contextOf(parent)))
    },
    close: () => provider.shutdown(),
  }
}

class OtlpSpan implements OpenSpan {
  readonly trace: string
  readonly #tracer: OtelTracer
  readonly #span: Span
  #ended = false

  constructor(tracer: OtelTracer, span: Span) {
    this.#tracer = tracer
    this.#span = span
    this.trace = traceparentOf(span)
  }

  note(attributes: Attributes): void {
    this.#span.setAttributes(given(attributes))
  }

  child(name: string, attributes: Attributes): OpenSpan {
    const above = trace.setSpan(ROOT_CONTEXT, this.#span)
    const options = { kind: SpanKind.INTERNAL, attributes: given(attributes) }
    return new OtlpSpan(this.#tracer, this.#tracer.startSpan(name, options, above))
  }

  end(failure?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    if (failure !== undefined) {
      this.#span.setAttribute('error.type', AppError.from(failure).code)
      this.#span.setStatus({ code: SpanStatusCode.ERROR })
    }
    this.#span.end()
  }
}

function contextOf(parent: string | undefined): Context {
  const above = parent === undefined ? null : parseTraceParent(parent)
  return above === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { ...above, isRemote: true })
}

function traceparentOf(span: Span): string {
  const carrier: Record<string, string> = {}
  propagator.inject(trace.setSpan(ROOT_CONTEXT, span), carrier, {
    set: (into, key, value) => {
      into[key] = value
    },
  })
  return carrier.traceparent ?? ''
}

function given(attributes: Attributes): Known {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined)) as Known
}

/** What OpenTelemetry has to say about a collector that does not take spans. */
function tellTroubles(log: Logger): void {
  let toldAt = Number.NEGATIVE_INFINITY
  const tell = (message: string) => {
    const now = performance.now()
    if (now - toldAt < quietMs) return
    toldAt = now
    log.warn({ error: new Error(message) }, 'telemetry.export')
  }
  const nothing = () => undefined
  const logger = { error: tell, warn: tell, info: nothing, debug: nothing, verbose: nothing }
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
}
