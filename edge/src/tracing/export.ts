/**
 * Ended spans of an isolate on their way to the collector, by OpenTelemetry's own OTLP exporter. What ends within a moment goes out together, sent by
 * the request whose span ended first; only plain data waits here, never a promise, as those belong to the request that made them.
 *
 *   none ──a span ends──▶ waiting ──a moment later──▶ sent, or given up: telemetry is never kept for later
 */

import { TraceFlags } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace'
import { AppError } from '@portico/shared/errors'
import type { Env } from '../env.ts'
import { logFailure } from '../log.ts'

/** So long the first span of a batch waits for more. */
const gatherMs = 250
/** Whoever was to send may have been cut off: after so long somebody else does. */
const patienceMs = 5000
/** The oldest of more are dropped. */
const mostWaiting = 2048
/** A collector that cannot be reached is told of so often at most. */
const quietMs = 60_000
const limitMs = 10_000

type Settings = Pick<Env, 'OTEL_EXPORTER_OTLP_ENDPOINT' | 'OTEL_EXPORTER_OTLP_HEADERS'>

export class SpanPost implements SpanProcessor {
  readonly #settings: { readonly url: string; readonly headers: Record<string, string>; readonly timeoutMillis: number }
  #waiting: ReadableSpan[] = []
  #since = Number.NEGATIVE_INFINITY
  #toldAt = Number.NEGATIVE_INFINITY

  constructor({ OTEL_EXPORTER_OTLP_ENDPOINT = '', OTEL_EXPORTER_OTLP_HEADERS = '' }: Settings) {
    this.#settings = {
      url: tracesUrl(OTEL_EXPORTER_OTLP_ENDPOINT),
      headers: headersOf(OTEL_EXPORTER_OTLP_HEADERS),
      timeoutMillis: limitMs,
    }
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return
    this.#waiting.push(span)
    if (this.#waiting.length > mostWaiting) this.#waiting.shift()
  }

  /** Resolves when what waits was sent, or somebody else is about to. */
  async sent(): Promise<void> {
    const now = Date.now()
    if (this.#waiting.length === 0 || now - this.#since < patienceMs) return
    this.#since = now
    await new Promise((resolve) => setTimeout(resolve, gatherMs))
    const spans = this.#waiting
    this.#waiting = []
    this.#since = Number.NEGATIVE_INFINITY
    await this.#send(spans)
  }

  async forceFlush(): Promise<void> {
    await this.#send(this.#waiting.splice(0))
  }

  async shutdown(): Promise<void> {}

  async #send(spans: ReadableSpan[]): Promise<void> {
    // One for each batch: it counts what it has under way by promises, and a request that is cut off would leave its own behind.
    const exporter = new OTLPTraceExporter(this.#settings)
    const error = await new Promise<unknown>((resolve) =>
      exporter.export(spans, (result) => resolve(result.code === 0 ? undefined : (result.error ?? 'it refused'))),
    )
    if (error === undefined || Date.now() - this.#toldAt < quietMs) return
    this.#toldAt = Date.now()
    logFailure(
      'export spans',
      new AppError('internal', 'cannot export spans: the collector did not take them', { cause: error }),
    )
  }
}

/** Where OpenTelemetry's specification has traces sent to, for an endpoint of all signals. */
export function tracesUrl(endpoint: string): string {
  return `${endpoint.replace(/\/+$/, '')}/v1/traces`
}

/** `name=value,name=value`, values percent-encoded, as OpenTelemetry's specification has it. What is none is left out. */
export function headersOf(text: string): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const pair of text.split(',')) {
    const at = pair.indexOf('=')
    if (at <= 0) continue
    const name = pair.slice(0, at).trim()
    try {
      new Headers({ [name]: 'x' })
      headers[name] = decodeURIComponent(pair.slice(at + 1).trim())
    } catch {
      // Neither a header's name nor a value that means anything.
    }
  }
  return headers
}
