/** Spans as an isolate makes and sends them, in the runtime that they run in; the collector is where `fetch` leads. */

import { AppError } from '@portico/shared/errors'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Span, traced } from './span.ts'

interface Sent {
  readonly name: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly attributes: readonly { readonly key: string; readonly value: object }[]
  readonly status: { readonly code: number; readonly message?: string }
}

const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector.test', OTEL_EXPORTER_OTLP_HEADERS: 'x-key=mine' }
const sent: Sent[] = []
const asked: { url: string; key: string | null }[] = []

beforeEach(() => {
  sent.length = 0
  asked.length = 0
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
    const request = new Request(input, init)
    asked.push({ url: request.url, key: request.headers.get('x-key') })
    const body = (await request.json()) as { resourceSpans: { scopeSpans: { spans: Sent[] }[] }[] }
    sent.push(...body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)))
    return new Response('{}')
  })
})
afterEach(() => vi.restoreAllMocks())

function exec<Answer>(run: (span: Span) => Promise<Answer>, settings: object = env): Promise<Answer> {
  return traced(
    { env: settings, traceparent },
    'sandbox.exec',
    { 'portico.sandbox.id': 'runx', nothing: undefined },
    run,
  )
}

describe('a span', () => {
  test("is sent below the caller's, with what became known, where the settings say", async () => {
    const trace = await exec(async (span) => {
      span.note({ 'portico.exit_code': 3 })
      return span.trace
    })
    await expect.poll(() => sent).toHaveLength(1)
    expect(sent[0]).toMatchObject({ name: 'sandbox.exec', parentSpanId: '00f067aa0ba902b7', status: { code: 0 } })
    expect(sent[0]?.attributes).toEqual([
      { key: 'portico.sandbox.id', value: { stringValue: 'runx' } },
      { key: 'portico.exit_code', value: { intValue: 3 } },
    ])
    expect(trace).toBe(traceparent.replace('00f067aa0ba902b7', sent[0]?.spanId ?? ''))
    expect(asked).toEqual([{ url: 'http://collector.test/v1/traces', key: 'mine' }])
  })

  test('that is held ends when it is let go, once', async () => {
    const end = await exec(async (span) => span.hold())
    await exec(async () => 'another')
    await expect.poll(() => sent).toHaveLength(1)
    end(new AppError('cancelled', 'cannot follow: gone'))
    end()
    await expect.poll(() => sent).toHaveLength(2)
    expect(sent[1]?.status.code).toBe(2)
  })

  test('of a failure has its code and none of its words, and the failure goes on', async () => {
    const failing = exec(() => Promise.reject(new AppError('file_not_found', 'cannot run /home/secret')))
    await expect(failing).rejects.toMatchObject({ code: 'file_not_found' })
    await expect.poll(() => sent).toHaveLength(1)
    expect(sent[0]?.attributes).toContainEqual({ key: 'error.type', value: { stringValue: 'file_not_found' } })
    expect(JSON.stringify(sent)).not.toContain('secret')
  })

  test('goes out with others that end within a moment', async () => {
    await Promise.all(Array.from({ length: 8 }, () => exec(async () => undefined)))
    await expect.poll(() => sent).toHaveLength(8)
    expect(asked).toHaveLength(1)
  })

  test.each([{}, { OTEL_EXPORTER_OTLP_ENDPOINT: '' }])('is not made without an endpoint: %j', async (settings) => {
    expect(await exec(async ({ trace }) => trace, settings)).toBe(traceparent)
    expect(asked).toEqual([])
  })
})
