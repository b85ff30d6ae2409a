import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { answers } from '@portico/shared/control'
import { call, type TunnelStream } from '@portico/shared/tunnel'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { daemonConfig, parseConfig } from '../config.ts'
import { type Daemon, startDaemon } from '../daemon.ts'
import { silentLog } from '../log.ts'
import { FakeStore } from '../testing/fake-store.ts'
import { OtlpReceiver } from '../testing/otlp-receiver.ts'
import { part, Tracing } from '../tracing/tracing.ts'
import { ScriptedEdge } from '../tunnel/scripted-edge.ts'
import { FakeDriver } from '../vm/fake/index.ts'
import { parseListen } from './listen.ts'

const signal = new AbortController().signal
const spec = { image: 'python', vcpus: 1, mem_mib: 256, disk_mib: 64, idle_timeout: 300, env: {} }
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const trace = `00-${traceId}-00f067aa0ba902b7-01`

let folder: string
let edge: ScriptedEdge
let daemon: Daemon | undefined
let collector: OtlpReceiver
let served: string | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-telemetry-'))
  edge = await ScriptedEdge.start()
  collector = await OtlpReceiver.start()
  served = undefined
})
afterEach(async () => {
  await daemon?.stop(AbortSignal.abort())
  daemon = undefined
  await edge.close()
  await collector[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function start(settings: object, imageStore?: FakeStore): Promise<void> {
  const log = silentLog()
  // The address that was given out is told in the log alone.
  log.info = ((facts: { url?: string }) => {
    served = facts.url ?? served
  }) as typeof log.info
  const config = parseConfig(daemonConfig, {
    edgeUrl: edge.url,
    token: 'secret',
    stateDir: folder,
    assets: '/nowhere/assets.json',
    maxSandboxes: 4,
    memoryMib: 1024,
    vcpus: 2,
    tunnelSockets: 1,
    poolSize: 0,
    ...settings,
  })
  daemon = await startDaemon(config, { driver: new FakeDriver(), log, ...(imageStore && { imageStore }) })
  await edge.called('runner.status')
}

async function create(sandbox: string, more: object = {}) {
  const head = { op: 'sandbox.create', sandbox, generation: 1, spec, ...more }
  return (await call(edge.muxer, head, answers['sandbox.create'], { signal })).answer
}

/** What a command printed. */
async function exec(sandbox: string, command: object, more: object = {}): Promise<string> {
  const body = new TextEncoder().encode(JSON.stringify(command))
  const headers = { 'content-type': 'application/json', 'content-length': String(body.length) }
  const head = { op: 'guest.request', sandbox, generation: 1, method: 'POST', path: '/exec', headers, ...more }
  const { stream } = await call(edge.muxer, head, answers['guest.request'], { signal, body })
  return (JSON.parse(await read(stream)) as { stdout: string }).stdout
}

async function read(stream: TunnelStream): Promise<string> {
  const parts: Uint8Array[] = []
  for (let bytes = await stream.read(); bytes; bytes = await stream.read()) parts.push(bytes)
  return Buffer.concat(parts).toString()
}

async function scrape(): Promise<Map<string, number>> {
  const response = await fetch(served ?? '')
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

const printTrace = { argv: ['printenv', 'TRACEPARENT'] }

describe('a trace', () => {
  it("goes on to the command as it came where nothing is exported, and the call's own environment wins", async () => {
    await start({})
    expect(await create('a', { trace })).toMatchObject({ ok: true })
    expect(await exec('a', printTrace, { trace })).toBe(`${trace}\n`)
    expect(await exec('a', { ...printTrace, env: { TRACEPARENT: 'mine' } }, { trace })).toBe('mine\n')
    expect(await exec('a', printTrace)).toBe('')
    expect(await exec('a', printTrace, { trace: 'nonsense' })).toBe('')
  })

  it('has a span of the runner for a create and for an exec, whose commands stand below it', async () => {
    await start({ otlpEndpoint: collector.endpoint })
    await create('a', { trace })
    const seen = await exec(
      'a',
      { argv: ['printenv', 'TRACEPARENT', 'secret-word'], env: { SECRET: 'hidden' } },
      { trace },
    )
    const made = await collector.span('portico-runner', 'sandbox.create')
    expect(made).toMatchObject({ traceId, parentSpanId: '00f067aa0ba902b7', failed: false })
    expect(made.attributes).toEqual({ 'portico.sandbox.id': 'a', 'portico.image': 'python' })
    const ran = await collector.span('portico-runner', 'sandbox.exec')
    expect(ran).toMatchObject({ traceId, parentSpanId: '00f067aa0ba902b7', failed: false })
    expect(seen).toBe(`00-${traceId}-${ran.spanId}-01\n`)
    expect(collector.bodies.join()).not.toMatch(/secret-word|hidden|SECRET|printenv/)
  })

  it('begins here where none came or what came is malformed, and tells failures by their code', async () => {
    await start({ otlpEndpoint: collector.endpoint })
    await create('a', { trace: 'nonsense' })
    const made = await collector.span('portico-runner', 'sandbox.create')
    expect(made.parentSpanId).toBeUndefined()
    await expect(create('b', { spec: { ...spec, image: 'no-such-image' } })).rejects.toThrow()
    const failed = await collector.span('portico-runner', 'sandbox.create', ({ failed }) => failed)
    expect(failed.attributes['error.type']).toMatch(/^image_/)
  })

  it('shows in a create how long the image took that had to be brought', async () => {
    const policy = join(folder, 'portico.yaml')
    await writeFile(policy, "image_allowlist: ['*']\n")
    const image = 'docker.io/library/alpine:3.20'
    await start({ otlpEndpoint: collector.endpoint, policy }, new FakeStore({ [image]: 'a' }))
    const first = await create('a', { trace, spec: { ...spec, image } })
    expect(first).toMatchObject({ ok: true })
    const above = await collector.span('portico-runner', 'sandbox.create')
    expect(await collector.span('portico-runner', 'image.pull')).toMatchObject({
      traceId,
      parentSpanId: above.spanId,
      attributes: { 'portico.image': image },
    })
    await create('b', { trace, spec: { ...spec, image } })
    await collector.span(
      'portico-runner',
      'sandbox.create',
      ({ attributes }) => attributes['portico.sandbox.id'] === 'b',
    )
    expect(collector.spans.filter(({ name }) => name === 'image.pull')).toHaveLength(1)
  })

  it('that its caller does not sample is handed on and not exported', async () => {
    await start({ otlpEndpoint: collector.endpoint })
    await create('a', { trace })
    expect(await exec('a', printTrace, { trace: trace.replace(/01$/, '00') })).toMatch(
      new RegExp(`^00-${traceId}-.*-00\n$`),
    )
    await exec('a', printTrace, { trace })
    await collector.span('portico-runner', 'sandbox.exec')
    expect(collector.spans.filter(({ name }) => name === 'sandbox.exec')).toHaveLength(1)
  })

  it('has a span below for a part of an operation, and parts without an operation have none', async () => {
    const tracing = await Tracing.open({ endpoint: collector.endpoint, version: '1', log: silentLog() })
    await tracing.within('sandbox.create', trace, {}, () => part('image.pull', { 'portico.image': 'x' }, async () => 1))
    expect(await part('image.pull', {}, async ({ trace: none }) => none)).toBeUndefined()
    await tracing.close()
    const above = await collector.span('portico-runner', 'sandbox.create')
    expect(await collector.span('portico-runner', 'image.pull')).toMatchObject({ traceId, parentSpanId: above.spanId })
    expect(collector.spans).toHaveLength(2)
  })
})

describe('metrics', () => {
  it('count what was asked and how it ended, and tell what there is', async () => {
    await start({ metricsListen: '127.0.0.1:0' })
    await create('a')
    await expect(create('b', { spec: { ...spec, image: 'no-such-image' } })).rejects.toThrow()
    await exec('a', { argv: ['true'] })
    await exec('a', { argv: ['true'] })
    const figures = await scrape()
    expect(figures.get('portico_operations_total{operation="create",result="ok"}')).toBe(1)
    expect([...figures.keys()].filter((name) => /operation="create",result="image_/.test(name))).toHaveLength(1)
    expect(figures.get('portico_operations_total{operation="exec",result="ok"}')).toBe(2)
    expect(figures.get('portico_operation_seconds_count{operation="exec"}')).toBe(2)
    expect(figures.get('portico_sandboxes{state="running"}')).toBe(1)
    expect(figures.get('portico_sandboxes{state="hibernated"}')).toBe(0)
    expect(figures.get('portico_slots_free')).toBe(3)
    expect(figures.get('portico_memory_bytes')).toBe(2 ** 30)
    expect(figures.get('portico_tunnel_sockets')).toBe(1)
    expect(figures.get('portico_draining')).toBe(0)
    expect(figures.get('portico_sandbox_changes_total{state="running",by_itself="false"}')).toBe(1)
    expect(figures.get('process_resident_memory_bytes')).toBeGreaterThan(0)
  })

  it('tell of the store of images, where there is one', async () => {
    const policy = join(folder, 'portico.yaml')
    await writeFile(policy, "image_allowlist: ['*']\n")
    const image = 'docker.io/library/alpine:3.20'
    await start({ metricsListen: '127.0.0.1:0', policy }, new FakeStore({ [image]: 'a' }))
    await create('a', { spec: { ...spec, image } })
    const figures = await scrape()
    expect(figures.get('portico_images')).toBe(1)
    expect(figures.get('portico_image_cache_limit_bytes')).toBe(100)
    expect(figures.get('portico_image_pulls_done_total')).toBe(1)
    expect((await scrape()).get('portico_image_pulled_bytes_total')).toBe(5)
  })

  it('tell how many machines stand ready, each once, whatever callers name images', async () => {
    const policy = join(folder, 'portico.yaml')
    const [alpine, app] = ['docker.io/library/alpine:3.20', 'ghcr.io/acme/app:1']
    await writeFile(policy, `image_allowlist: ['*']\ncustom_images: { app: ${app} }\n`)
    const room = { maxSandboxes: 6, memoryMib: 2048, vcpus: 6 }
    await start(
      { ...room, metricsListen: '127.0.0.1:0', policy, poolSize: 1 },
      new FakeStore({ [alpine]: 'a', [app]: 'b' }),
    )
    for (const image of ['python', alpine, 'app']) await create(image.slice(0, 3), { spec: { ...spec, image } })
    const { engine } = daemon ?? {}
    while (Object.keys(engine?.status().ready ?? {}).length < 3) await new Promise<void>((warm) => engine?.onWarm(warm))
    const labels = [...(await scrape())].filter(([name]) => name.startsWith('portico_pool_machines'))
    const pool = (image: string) => [`portico_pool_machines{image="${image}"}`, 1]
    expect(labels.sort()).toEqual([pool('app'), pool('other'), pool('python')])
  })

  it('are served at one path, and no longer once the runner has stopped', async () => {
    await start({ metricsListen: '127.0.0.1:0' })
    const url = served ?? ''
    expect((await fetch(new URL('/', url))).status).toBe(404)
    expect((await fetch(url, { method: 'POST' })).status).toBe(405)
    await daemon?.stop(AbortSignal.abort())
    await expect(fetch(url)).rejects.toThrow()
  })

  it('keep a runner from starting where their address cannot be had', async () => {
    const { port } = new URL(collector.endpoint)
    await expect(start({ metricsListen: `127.0.0.1:${port}` })).rejects.toThrow(/cannot serve metrics at/)
  })

  it.each([
    ['127.0.0.1:9464', { host: '127.0.0.1', port: 9464 }],
    ['[::1]:9464', { host: '::1', port: 9464 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['9464', undefined],
    ['::1:9464', undefined],
    ['127.0.0.1:99999', undefined],
  ])('listen where the configuration says: %s', (text, where) => expect(parseListen(text)).toEqual(where))
})
