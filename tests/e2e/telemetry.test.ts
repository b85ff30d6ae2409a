/** One trace from a client to its command: real front door in workerd, real runner on fake machines, a collector that both send to. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { openPlatform, type Platform } from '@portico/deploy/local'
import { OtlpReceiver, type ReceivedSpan } from '@portico/runner/otlp-receiver'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { enrolRunner, newKey, newSandbox, region, runnerCommand } from '../bench/front-door/portico.ts'
import { MeasuredProcess } from '../bench/front-door/process.ts'

const runnerFile = resolve(import.meta.dirname, '../../runner/src/testing/fake-runner.ts')
const edge = 'portico-edge'
const runner = 'portico-runner'
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const callersSpan = '00f067aa0ba902b7'
const traceparent = `00-${traceId}-${callersSpan}-01`

describe('telemetry', () => {
  let folder: string
  let collector: OtlpReceiver
  let platform: Platform
  let joined: MeasuredProcess
  let key: string
  let sandbox: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'portico-telemetry-'))
    collector = await OtlpReceiver.start()
    const variables = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint }
    platform = await openPlatform({ stateDir: folder, runners: 0, region, variables, networks: ['public', 'local'] })
    const { tunnel, token } = await enrolRunner(platform)
    const settings = JSON.stringify({ otlpEndpoint: collector.endpoint })
    const command = [...runnerCommand, runnerFile, tunnel, token, join(folder, 'runner'), settings]
    joined = MeasuredProcess.launch(command, folder)
    key = await newKey(platform)
    sandbox = await newSandbox(platform, key)
  }, 30_000)

  afterAll(async () => {
    await joined?.[Symbol.asyncDispose]()
    await platform?.close()
    await collector?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function post(path: string, body: object, headers: Record<string, string> = {}): Promise<unknown> {
    const response = await fetch(platform.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    return await response.json()
  }

  /** The span of the runner for what the edge's span is about. */
  function below(above: ReceivedSpan): Promise<ReceivedSpan> {
    return collector.span(runner, above.name, ({ parentSpanId }) => parentSpanId === above.spanId)
  }

  test("a create is a span of the edge below the caller's, and one of the runner below that", async () => {
    const { id } = (await post('/v1/runs', { image: 'python', timeout: 0 }, { traceparent })) as { id: string }
    const about = ({ attributes }: ReceivedSpan) => attributes['portico.sandbox.id'] === id
    const above = await collector.span(edge, 'sandbox.create', about)
    expect(above).toMatchObject({ traceId, parentSpanId: callersSpan, failed: false })
    expect(await below(above)).toMatchObject({ traceId, failed: false })
  })

  test('so is an exec, and its command sees the span of the runner', async () => {
    const body = { command: ['printenv', 'TRACEPARENT'], env: { HIDDEN: 'a-secret' } }
    const { stdout } = (await post(`/v1/runs/${sandbox}/exec`, body, { traceparent })) as { stdout: string }
    const above = await collector.span(edge, 'sandbox.exec', ({ parentSpanId }) => parentSpanId === callersSpan)
    expect(above).toMatchObject({ traceId, failed: false, attributes: { 'portico.exit_code': 0 } })
    const ran = await below(above)
    expect(stdout).toBe(`00-${traceId}-${ran.spanId}-01\n`)
    expect(collector.bodies.join()).not.toMatch(/printenv|HIDDEN|a-secret/)
    expect(collector.bodies.join()).not.toContain(key)
  })

  test('a malformed traceparent is ignored: the trace begins at the edge', async () => {
    const body = { command: ['printenv', 'TRACEPARENT'] }
    const traceparent = 'anything'
    const { stdout } = (await post(`/v1/runs/${sandbox}/exec`, body, { traceparent })) as { stdout: string }
    const [, trace = '', span = ''] = stdout.trim().split('-')
    const ran = await collector.span(runner, 'sandbox.exec', ({ spanId }) => spanId === span)
    const above = await collector.span(edge, 'sandbox.exec', ({ spanId }) => spanId === ran.parentSpanId)
    expect(above.traceId).toBe(trace)
    expect(above.parentSpanId).toBeUndefined()
  })

  test('a refusal is told by its code', async () => {
    const mine = traceparent.replace(callersSpan, '1111111111111111')
    await post('/v1/runs', { image: 'no-such-image', timeout: 0 }, { traceparent: mine })
    const failed = await collector.span(edge, 'sandbox.create', (span) => span.parentSpanId === '1111111111111111')
    expect(failed).toMatchObject({ traceId, failed: true })
    expect(failed.attributes['error.type']).toMatch(/^image_/)
  })
})
