import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock, systemClock } from '@portico/shared/clock'
import { answers } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { call, type TunnelStream } from '@portico/shared/tunnel'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { daemonConfig, parseConfig } from './config.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { silentLog } from './log.ts'
import { machineOf } from './testing/sandboxes.ts'
import { ScriptedEdge } from './tunnel/scripted-edge.ts'
import { FakeDriver, type GuestBehaviour } from './vm/fake/index.ts'

let folder: string
let edge: ScriptedEdge
let daemon: Daemon
let driver: FakeDriver
let behaviour: GuestBehaviour
const signal = new AbortController().signal
const spec = { image: 'python:3.12', vcpus: 1, mem_mib: 256, disk_mib: 64, idle_timeout: 300, env: {} }

beforeEach(async () => {
  behaviour = {}
  folder = await mkdtemp(join(tmpdir(), 'portico-daemon-'))
  edge = await ScriptedEdge.start()
  driver = new FakeDriver({ behaviour: (_spec, how) => (how === 'boot' ? {} : behaviour) })
})
afterEach(async () => {
  await daemon.stop(AbortSignal.abort())
  await edge.close()
  await rm(folder, { recursive: true, force: true })
})

async function start(clock = systemClock): Promise<void> {
  const config = parseConfig(daemonConfig, {
    edgeUrl: edge.url,
    token: 'secret',
    stateDir: folder,
    assets: '/nowhere/assets.json',
    imageAliases: { 'python:3.12': 'python', ruby: 'no-such-preset' },
    maxSandboxes: 4,
    memoryMib: 1024,
    vcpus: 2,
    tunnelSockets: 1,
  })
  daemon = await startDaemon(config, { driver, log: silentLog(), clock, random: () => 0 })
  await edge.called('runner.status')
}

const target = (sandbox: string) => ({ sandbox, generation: 1 })

async function create(sandbox: string) {
  return (
    await call(edge.muxer, { op: 'sandbox.create', ...target(sandbox), spec }, answers['sandbox.create'], { signal })
  ).answer
}

async function guest(sandbox: string, method: string, path: string, body?: Uint8Array, callSignal = signal) {
  const head = { op: 'guest.request', ...target(sandbox), method, path, headers: {}, request_id: 'req1' }
  return await call(edge.muxer, head, answers['guest.request'], { signal: callSignal, body })
}

async function read(stream: TunnelStream): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (let bytes = await stream.read(); bytes; bytes = await stream.read()) parts.push(bytes)
  return Buffer.concat(parts)
}

it('tells the edge what it is', async () => {
  await start()
  expect(edge.calls[0]).toEqual({
    op: 'runner.status',
    session: expect.stringMatching(/^[a-z2-7]{26}$/),
    sequence: 1,
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    accelerator: 'tcg',
    draining: false,
    vcpus: 2,
    total_mem_mib: 1024,
    free_vcpus: 32,
    load: expect.any(Number),
    warm: {},
    free_mem_mib: 1024,
    free_slots: 4,
    images: ['python', 'node', 'python:3.12'],
    sandboxes: [],
  })
})

it('creates, uses, measures and destroys a sandbox for the edge', async () => {
  await start()
  expect(await create('a')).toEqual({ ok: true, resolved_image: 'python', create_ms: expect.any(Number) })
  const { answer, stream } = await guest('a', 'POST', '/exec', Buffer.from('{"shell":"echo hi"}'))
  expect(answer).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } })
  expect(JSON.parse(String(await read(stream)))).toMatchObject({ stdout: 'hi\n' })
  const stats = await call(edge.muxer, { op: 'sandbox.stats', ...target('a') }, answers['sandbox.stats'], { signal })
  expect(stats.answer.usage.cpu_ms).toBe(10)
  const update = { op: 'sandbox.update', ...target('a'), idle_timeout: 5 }
  await call(edge.muxer, update, answers['sandbox.update'], { signal })
  const destroy = { op: 'sandbox.destroy', ...target('a') }
  const first = await call(edge.muxer, destroy, answers['sandbox.destroy'], { signal })
  expect(first.answer.usage.cpu_ms).toBe(10)
  expect((await call(edge.muxer, destroy, answers['sandbox.destroy'], { signal })).answer).toEqual(first.answer)
  expect(driver.machines.size).toBe(0)
})

it('forks, keeps, restores, hibernates and resumes a sandbox for the edge', async () => {
  await start()
  await create('a')
  const ask = async <Op extends keyof typeof answers>(op: Op, head: object) =>
    (await call(edge.muxer, { op, ...head }, answers[op], { signal })).answer
  expect(await ask('sandbox.fork', { ...target('a'), children: [target('b')] })).toEqual({
    ok: true,
    resolved_image: 'python',
    pause_ms: expect.any(Number),
    children: [{ sandbox: 'b', create_ms: expect.any(Number) }],
  })
  expect(await ask('sandbox.snapshot', { ...target('a'), snapshot: 's' })).toEqual({
    ok: true,
    size_bytes: expect.any(Number),
  })
  const restored = await ask('sandbox.restore', { ...target('c'), snapshot: 's', spec })
  expect(restored).toEqual({ ok: true, resolved_image: 'python', create_ms: expect.any(Number) })
  expect(await ask('sandbox.hibernate', target('a'))).toMatchObject({ ok: true, usage: { cpu_ms: 10 } })
  await edge.until(() => JSON.stringify(edge.calls).includes('"sandbox":"a","generation":1,"state":"hibernated"'))
  await expect(guest('a', 'POST', '/exec', Buffer.from('{}'))).rejects.toMatchObject({ code: 'sandbox_hibernated' })
  expect(await ask('sandbox.resume', target('a'))).toEqual({ ok: true, resume_ms: expect.any(Number) })
  expect(await ask('snapshot.delete', { snapshot: 's' })).toEqual({ ok: true })
  const again = ask('sandbox.restore', { ...target('d'), snapshot: 's', spec })
  await expect(again).rejects.toMatchObject({ code: 'snapshot_not_found' })
})

it('tells the edge of a sandbox that falls asleep and wakes by itself', async () => {
  const clock = new FakeClock()
  await start(clock)
  const own = { ...spec, idle_timeout: 10, on_idle: 'hibernate', auto_resume: true }
  await call(edge.muxer, { op: 'sandbox.create', ...target('a'), spec: own }, answers['sandbox.create'], { signal })
  await clock.advance(10_000)
  expect((await edge.called('sandbox.event'))[0]).toMatchObject({
    sandbox: 'a',
    state: 'hibernated',
    usage: { cpu_ms: 10 },
  })
  const { stream } = await guest('a', 'POST', '/exec', Buffer.from('{"shell":"echo awake"}'))
  expect(String(await read(stream))).toContain('awake')
  expect((await edge.called('sandbox.event', 2))[1]).toMatchObject({ sandbox: 'a', state: 'running' })
})

it('carries large bodies both ways', async () => {
  await start()
  await create('a')
  const content = Buffer.alloc(2_000_000, 'x')
  expect(JSON.parse(String(await read((await guest('a', 'PUT', '/files?path=/f', content)).stream)))).toMatchObject({
    size: 2_000_000,
  })
  expect((await read((await guest('a', 'GET', '/files?path=/f')).stream)).equals(content)).toBe(true)
})

it('reports each change of what runs', async () => {
  await start()
  await create('a')
  await edge.until(() => JSON.stringify(edge.calls).includes('"sandbox":"a","generation":1,"state":"running"'))
  const last = (await edge.called('runner.status')).at(-1)
  expect(last).toMatchObject({ free_slots: 3, free_mem_mib: 768 })
})

it('reports at least every 30 s', async () => {
  const clock = new FakeClock()
  await start(clock)
  // The answer to the first report arrives in real time.
  for (let turn = 0; turn < 50; turn++) await new Promise((done) => setImmediate(done))
  await clock.advance(30_000)
  await edge.called('runner.status', 2)
})

it.each([
  ['an unknown sandbox', { op: 'sandbox.stats', ...target('x') }, 'sandbox_not_found'],
  ['an unknown image', { op: 'sandbox.create', ...target('x'), spec: { ...spec, image: 'ruby' } }, 'image_unknown'],
  ['more than there is', { op: 'sandbox.create', ...target('x'), spec: { ...spec, mem_mib: 5000 } }, 'capacity'],
  ['an op of another generation', { op: 'sandbox.fly', ...target('x') }, 'protocol_error'],
  ['a head that is no call', { hello: 1 }, 'protocol_error'],
])('refuses %s with its code', async (_what, head, code) => {
  await start()
  await expect(call(edge.muxer, head, answers['sandbox.stats'], { signal })).rejects.toMatchObject({ code })
})

it('refuses a head that is not JSON and goes on', async () => {
  await start()
  const stream = edge.muxer.open(Buffer.from('\xff{'))
  expect(JSON.parse(Buffer.from(await stream.head()).toString())).toMatchObject({
    ok: false,
    error: { code: 'protocol_error' },
  })
  await create('a')
})

it('tells nothing of the host in an error', async () => {
  await start()
  driver.boot = () => Promise.reject(new Error(`ENOENT /var/lib/secret ${import.meta.filename}`))
  const error = await create('a').catch((thrown: AppError) => thrown)
  expect(error).toMatchObject({
    code: 'internal',
    message: 'cannot create the sandbox: its template could not be made',
  })
})

it('ends the request in the guest when the edge gives it up', async () => {
  const started = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  behaviour = {
    exec: async (_asked, aborted) => {
      aborted.addEventListener('abort', () => gone.resolve())
      started.resolve()
      await gone.promise
      return {}
    },
  }
  await start()
  await create('a')
  const caller = new AbortController()
  const asked = guest('a', 'POST', '/exec', Buffer.from('{}'), caller.signal)
  asked.catch(() => undefined)
  await started.promise
  caller.abort(new AppError('cancelled', 'gone'))
  await gone.promise
})

it('resets the stream where the guest does not finish its answer', async () => {
  behaviour = {
    raw: (path) => (path === '/evil' ? Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc') : undefined),
  }
  await start()
  await create('a')
  const { stream } = await guest('a', 'GET', '/evil')
  await expect(read(stream)).rejects.toMatchObject({ code: 'guest_error' })
})

it('tells the edge of a sandbox that died, and repeats it over the next connection', async () => {
  edge.script.onCall = (head, stream) => {
    if (head.op === 'sandbox.event' && edge.tokens.length === 1) return edge.cut()
    stream.accept(Buffer.from('{"ok":true}'))
    stream.end()
  }
  await start()
  await create('a')
  machineOf(driver, 'a').die()
  const events = await edge.called('sandbox.event', 2)
  expect(events[1]).toMatchObject({ sandbox: 'a', generation: 1, state: 'error', usage: { cpu_ms: 10 } })
  expect(events[1]).toEqual(events[0])
})

it('keeps its sandboxes when the tunnel is lost', async () => {
  await start()
  await create('a')
  const before = edge.calls.length
  edge.cut()
  await edge.until(() => edge.calls.length > before && edge.tokens.length === 2)
  expect(edge.calls.at(-1)).toMatchObject({ sandboxes: [{ sandbox: 'a', state: 'running' }] })
  const { stream } = await guest('a', 'POST', '/exec', Buffer.from('{"shell":"echo back"}'))
  expect(String(await read(stream))).toContain('back')
})

it('drains: reports it, lets calls finish, destroys all, tells the edge, says goodbye', async () => {
  const release = Promise.withResolvers<void>()
  const started = Promise.withResolvers<void>()
  behaviour = {
    exec: async () => {
      started.resolve()
      await release.promise
      return { stdout: 'done' }
    },
  }
  await start()
  await create('a')
  const asked = guest('a', 'POST', '/exec', Buffer.from('{}')).then(({ stream }) => read(stream))
  await started.promise
  const stopped = daemon.stop(signal)
  await edge.until(() => JSON.stringify(edge.calls.at(-1)).includes('"draining":true'))
  await expect(create('b')).rejects.toMatchObject({ code: 'capacity' })
  release.resolve()
  expect(String(await asked)).toContain('done')
  await stopped
  expect((await edge.called('sandbox.event'))[0]).toMatchObject({ sandbox: 'a', state: 'destroyed' })
  expect(edge.goneAway).toBe('no_runner')
  expect(driver.machines.size).toBe(0)
})

it('does not wait for calls when it is in a hurry', async () => {
  behaviour = { exec: () => new Promise(() => undefined) }
  await start()
  await create('a')
  const asked = guest('a', 'POST', '/exec', Buffer.from('{}'))
  const refused = expect(asked).rejects.toMatchObject({ code: expect.any(String) })
  const hurry = new AbortController()
  const stopped = daemon.stop(hurry.signal)
  hurry.abort()
  await stopped
  await refused
  expect(driver.machines.size).toBe(0)
})
