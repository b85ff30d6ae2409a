/** A collector for tests: it takes OTLP/HTTP as JSON and keeps the spans. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ReceivedSpan {
  readonly service: string
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly failed: boolean
  readonly attributes: Readonly<Record<string, unknown>>
}

interface WireAttribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

interface WireSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly attributes: readonly WireAttribute[]
  readonly status: { readonly code: number }
}

interface WireTraces {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly WireAttribute[] }
    readonly scopeSpans: readonly { readonly spans: readonly WireSpan[] }[]
  }[]
}

export class OtlpReceiver implements AsyncDisposable {
  readonly spans: ReceivedSpan[] = []
  /** All that was sent, as text. */
  readonly bodies: string[] = []
  readonly #server = createServer(async (request, response) => {
    let text = ''
    for await (const bytes of request) text += String(bytes)
    const isTraces = request.method === 'POST' && request.url === '/v1/traces'
    if (isTraces && request.headers['content-type']?.startsWith('application/json')) this.#take(text)
    response.writeHead(isTraces ? 200 : 404, { 'content-type': 'application/json' }).end('{}')
  })
  readonly #waiting = new Set<() => void>()

  static async start(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver()
    receiver.#server.listen(0, '127.0.0.1')
    await once(receiver.#server, 'listening')
    return receiver
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The first span of a service with this name that fits, as soon as it was sent. */
  async span(service: string, name: string, fits: (span: ReceivedSpan) => boolean = () => true): Promise<ReceivedSpan> {
    for (;;) {
      const found = this.spans.find((span) => span.service === service && span.name === name && fits(span))
      if (found !== undefined) return found
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  #take(text: string): void {
    this.bodies.push(text)
    for (const { resource, scopeSpans } of (JSON.parse(text) as WireTraces).resourceSpans) {
      const service = String(attributesOf(resource.attributes)['service.name'])
      for (const { traceId, spanId, parentSpanId, name, attributes, status } of scopeSpans.flatMap(
        ({ spans }) => spans,
      )) {
        const below = parentSpanId === undefined ? {} : { parentSpanId }
        const failed = status.code === 2
        this.spans.push({ service, name, traceId, spanId, ...below, failed, attributes: attributesOf(attributes) })
      }
    }
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}

function attributesOf(list: readonly WireAttribute[]): Record<string, unknown> {
  return Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]))
}
