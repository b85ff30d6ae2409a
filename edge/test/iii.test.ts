/** The iii surface on the wire: sandboxes and commands as a client of iii knows them. */

import { sandboxIdOfUuid } from '@portico/shared/ids'
import type { TunnelStream } from '@portico/shared/tunnel'
import { afterEach, describe, expect, test } from 'vitest'
import { adminKey, answer, ask, newTenant, refusal } from './client.ts'
import { done } from './guest-scene.ts'
import { IiiClient } from './iii-client.ts'
import { RunnerScene } from './runner-scene.ts'
import { enrol, guestAnswers, readAll, refusing, type Script, ScriptedRunner } from './scripted-runner.ts'

const scene = new RunnerScene()
afterEach(() => IiiClient.closeAll())

/** What the agent was asked, in order. */
interface Asked {
  readonly path: string
  readonly body: Record<string, unknown>
  readonly text: string
}

/** A guest whose commands all end like this. */
function guest(over: object = {}, asked: Asked[] = []): Script {
  return {
    'guest.request': async (call, stream) => {
      const text = await readAll(stream)
      asked.push({ path: call.path, text, body: call.path === '/exec' ? JSON.parse(text) : {} })
      guestAnswers(stream, 200, call.path === '/exec' ? { ...done, ...over } : { path: call.path, size: 1 })
    },
  }
}

const client = () => IiiClient.connect(scene.tenant.key)

async function made(iii: IiiClient, payload: object = {}): Promise<string> {
  const { sandbox_id } = await iii.result<{ sandbox_id: string }>('sandbox::create', { image: 'python', ...payload })
  return sandbox_id
}

describe('a client', () => {
  test.each([
    ['in the header', '/iii'],
    ['in the path', '/iii/KEY'],
    ['in the query', '/iii?token=KEY'],
  ])('with its key %s is told who it is before anything else', async (_name, path) => {
    const { key } = scene.tenant
    const iii = await IiiClient.connect(path === '/iii' ? key : undefined, path.replace('KEY', key))
    const { worker_id, reattach_token } = await iii.identity()
    expect(worker_id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4/)
    expect(reattach_token).toMatch(/^[a-z2-7]{52}$/)
    expect(iii.frames[0]?.type).toBe('workerregistered')
    expect(await iii.result('sandbox::list', {})).toEqual({ sandboxes: [] })
  })

  test('without a key, or with one that is wrong, is refused at the door', async () => {
    const upgrade = { headers: { upgrade: 'websocket' } }
    expect(await refusal('/iii', upgrade)).toMatchObject({ status: 401 })
    expect(await refusal(`/iii/${scene.tenant.key}a`, upgrade)).toMatchObject({ status: 401 })
    expect(await refusal('/iii', { key: scene.tenant.key })).toMatchObject({ status: 400 })
  })

  test('has its telemetry taken and dropped', async () => {
    for (const path of ['/iii/otel', `/iii/${scene.tenant.key}/otel`]) {
      const { status, webSocket } = await ask(path, { headers: { upgrade: 'websocket' } })
      expect(status).toBe(101)
      const closed = new Promise<number>((resolve) => webSocket?.addEventListener('close', ({ code }) => resolve(code)))
      webSocket?.accept()
      webSocket?.send(new TextEncoder().encode('MTRC{}'))
      webSocket?.close(1000, '')
      expect(await closed).toBe(1000)
    }
  })

  test('registers itself, functions and triggers, and is answered only of triggers', async () => {
    const iii = await client()
    iii.send({ type: 'registerfunction', id: 'my::fn' })
    iii.send({ type: 'registertrigger', id: 't', trigger_type: 'cron', function_id: 'my::fn', config: {} })
    iii.send({ type: 'invokefunction', function_id: 'engine::workers::register', data: {}, action: { type: 'void' } })
    iii.send('no JSON')
    iii.send({ type: 'somethingnew' })
    await iii.result('sandbox::list', {})
    const [first, second, ...rest] = iii.frames
    expect([first?.type, second]).toEqual([
      'workerregistered',
      expect.objectContaining({ type: 'triggerregistrationresult', id: 't', error: expect.anything() }),
    ])
    expect(rest).toHaveLength(1)
  })

  test('is told of functions that are not, of payloads that do not fit and of queues', async () => {
    const iii = await client()
    const error = async (...call: Parameters<IiiClient['call']>) => (await iii.call(...call)).error
    const serialization = (why: string) => ({ code: 'invocation_failed', message: `serialization error: ${why}` })
    expect(await error('my::fn', {})).toEqual({ code: 'function_not_found', message: 'Function my::fn not found' })
    expect(await error('sandbox::create', {})).toEqual(serialization('missing field `image`'))
    expect(await error('sandbox::list')).toEqual(serialization('invalid type: null, expected a map'))
    expect(await error('sandbox::exec', { sandbox_id: 1 })).toMatchObject({ code: 'invocation_failed' })
    expect(await error('sandbox::list', {}, { action: { type: 'enqueue', queue: 'q' } })).toMatchObject({
      code: 'enqueue_error',
    })
  })

  test('may do what the scope of its key allows', async () => {
    await scene.connected(guest())
    const keys = await Promise.all(
      ['read-only', 'exec-only'].map((scope) =>
        answer<{ key: string }>(`/admin/accounts/${scene.tenant.account}/keys`, {
          key: adminKey,
          json: { region: 'local', scope },
        }),
      ),
    )
    const [reader, user] = await Promise.all(keys.map(({ key }) => IiiClient.connect(key)))
    const sandbox_id = await made(await client())
    const refused = async (iii: IiiClient | undefined, id: string) =>
      (await iii?.call(id, { sandbox_id, image: 'x' }))?.error
    expect(await refused(reader, 'sandbox::exec')).toMatchObject({ code: 'FORBIDDEN' })
    expect(await refused(user, 'sandbox::create')).toMatchObject({ code: 'FORBIDDEN' })
    expect(await refused(user, 'sandbox::stop')).toMatchObject({ code: 'FORBIDDEN' })
    expect(await reader?.result('sandbox::list', {})).toMatchObject({ sandboxes: [{ sandbox_id }] })
    expect(await user?.result('sandbox::exec', { sandbox_id, cmd: 'true' })).toMatchObject({ success: true })
  })

  test('is shown out once its key is revoked', async () => {
    const { id, key } = await answer<{ id: string; key: string }>(`/admin/accounts/${scene.tenant.account}/keys`, {
      key: adminKey,
      json: { region: 'local' },
    })
    const iii = await IiiClient.connect(key)
    await answer(`/admin/accounts/${scene.tenant.account}/keys/${id}`, { method: 'DELETE', key: adminKey })
    expect((await iii.call('sandbox::list', {})).error).toMatchObject({ code: 'FORBIDDEN' })
    expect(await iii.closed).toMatchObject({ code: 1008 })
  })
})

describe('a sandbox', () => {
  test('is created, used and stopped as the quickstart does it, and is a run like any other', async () => {
    const asked: Asked[] = []
    const runner = await scene.connected(guest({ stdout: 'hi\n' }, asked))
    const iii = await client()
    const created = await iii.result<{ sandbox_id: string }>('sandbox::create', { image: 'python' })
    expect(created).toEqual({ sandbox_id: expect.stringMatching(/^[0-9a-f-]{14}4[0-9a-f]{3}-[89ab]/), image: 'python' })
    const { sandbox_id } = created
    const run = sandboxIdOfUuid(sandbox_id) ?? ''
    expect(await scene.record(run)).toMatchObject({ image: 'python', vcpus: 1, mem_mib: 512, timeout: 300 })
    const argument = { sandbox_id, cmd: 'python3', args: ['-c', 'print("hi")'] }
    expect(await iii.result('sandbox::exec', argument)).toEqual({
      stdout: 'hi\n',
      stderr: '',
      exit_code: 0,
      timed_out: false,
      duration_ms: done.duration_ms,
      success: true,
    })
    expect(asked[0]?.body).toEqual({
      argv: ['python3', '-c', 'print("hi")'],
      timeout_ms: 30_000,
      max_output_bytes: 1_048_576,
    })
    expect(await iii.result('sandbox::stop', { sandbox_id, wait: true })).toEqual({ sandbox_id, stopped: true })
    expect(runner.count('sandbox.destroy')).toBe(1)
    expect(await iii.result('sandbox::list', {})).toEqual({ sandboxes: [] })
  })

  test('has what its creator asked for', async () => {
    const runner = await scene.connected()
    const iii = await client()
    const wanted = { cpus: 2, memory_mb: 1024, name: 'mine', idle_timeout_secs: 60, network: false }
    await made(iii, { ...wanted, env: ['A=1', 'B=x=y', 'A=2'], unknown: true })
    await made(iii, { env: { C: '3' } })
    const specs = runner.calls.flatMap((call) => (call.op === 'sandbox.create' ? [call.spec] : []))
    expect(specs[0]).toMatchObject({ vcpus: 2, mem_mib: 1024, idle_timeout: 60, env: { A: '2', B: 'x=y' } })
    expect(specs[1]?.env).toEqual({ C: '3' })
    const { sandboxes } = await iii.result<{ sandboxes: object[] }>('sandbox::list', {})
    expect(sandboxes).toHaveLength(2)
    expect(sandboxes[1]).toEqual({
      sandbox_id: expect.any(String),
      name: 'mine',
      image: 'python',
      age_secs: expect.any(Number),
      exec_in_progress: false,
      stopped: false,
    })
  })

  test("takes the defaults and the names of its region's policy", async () => {
    const { key } = await newTenant('eu')
    const runner = await ScriptedRunner.connect(await enrol('eu'))
    await runner.report({
      policy: {
        default_cpus: 2,
        default_memory_mb: 256,
        default_idle_timeout_secs: 77,
        max_concurrent_sandboxes: 32,
        catalog: [{ name: 'my-app', oci_ref: 'ghcr.io/acme/my-app:1.2.3', kind: 'custom' }],
      },
    })
    const iii = await IiiClient.connect(key)
    expect(await made(iii, { image: 'my-app' })).toBeTypeOf('string')
    const [create] = runner.calls.filter((call) => call.op === 'sandbox.create')
    expect(create).toMatchObject({ spec: { image: 'my-app', vcpus: 2, mem_mib: 256, idle_timeout: 77 } })
    expect(await iii.result('sandbox::catalog::list', {})).toEqual({
      images: [{ name: 'my-app', oci_ref: 'ghcr.io/acme/my-app:1.2.3', kind: 'custom' }],
    })
    expect(await iii.fault('sandbox::create', { image: 'python' })).toMatchObject({ code: 'S100' })
  })

  test.each([
    ['a name of a variable', { env: ['1A=x'] }, 'S001'],
    ['a variable without a value', { env: ['secret'] }, 'S001'],
    ['a network', { network: true }, 'S001'],
    ['too little memory', { memory_mb: 1 }, 'S001'],
    ['a name', { name: 'x'.repeat(200) }, 'S001'],
    ['more than any may have', { cpus: 9 }, 'S400'],
    ['an image that nobody lists', { image: 'ubuntu:22.04' }, 'S100'],
  ])('is refused for %s', async (_name, payload, code) => {
    await scene.connected()
    const fault = await (await client()).fault('sandbox::create', { image: 'python', ...payload })
    expect(fault).toMatchObject({ code })
    expect(fault.message).not.toContain('secret')
  })

  test('of another account, or one that never was, is not found', async () => {
    await scene.connected(guest())
    const sandbox_id = await made(await client())
    const stranger = await IiiClient.connect((await newTenant()).key)
    const never = crypto.randomUUID()
    for (const id of [sandbox_id, never]) {
      for (const name of ['sandbox::exec', 'sandbox::stop']) {
        expect(await stranger.fault(name, { sandbox_id: id, cmd: 'true' })).toMatchObject({
          type: 'validation',
          code: 'S002',
          message: `sandbox not found: ${id}`,
        })
      }
    }
  })

  test('that is over takes no commands and is not stopped twice', async () => {
    await scene.connected(guest())
    const iii = await client()
    const sandbox_id = await made(iii)
    await iii.result('sandbox::stop', { sandbox_id })
    expect(await iii.fault('sandbox::exec', { sandbox_id, cmd: 'true' })).toMatchObject({ code: 'S004' })
    expect(await iii.fault('sandbox::stop', { sandbox_id })).toMatchObject({ code: 'S002' })
  })

  test('is not found by what is no UUID', async () => {
    const iii = await client()
    for (const sandbox_id of ['x', `run${'a'.repeat(26)}`, '']) {
      expect(await iii.fault('sandbox::exec', { sandbox_id, cmd: 'x' })).toMatchObject({
        code: 'S001',
        message: `sandbox_id is not a valid UUID: ${sandbox_id}`.trim(),
      })
    }
  })
})

describe('a command', () => {
  test.each([
    [{}],
    [{ cmd: 'a', stdin: 'not base64!' }],
    [{ cmd: 'a', stdin: 'abc' }],
    [{ cmd: 'a', env: ['=x'] }],
    [{ cmd: 'a', env: ['x'] }],
  ])('%j is malformed', async (shape) => {
    await scene.connected(guest())
    const iii = await client()
    expect(await iii.fault('sandbox::exec', { sandbox_id: await made(iii), ...shape })).toMatchObject({ code: 'S001' })
  })

  test('has its input, its folder, its variables and its time', async () => {
    const asked: Asked[] = []
    await scene.connected(guest({}, asked))
    const iii = await client()
    const wanted = { cmd: 'cat', stdin: btoa('hello'), workdir: '/srv', env: ['A=1'], timeout_ms: 10_000 }
    await iii.result('sandbox::exec', { sandbox_id: await made(iii), ...wanted })
    expect(asked[0]?.body).toMatchObject({
      argv: ['cat'],
      stdin: btoa('hello'),
      cwd: '/srv',
      env: { A: '1' },
      timeout_ms: 10_000,
    })
  })

  test('takes 5 MB of input in one frame', async () => {
    const asked: Asked[] = []
    await scene.connected(guest({}, asked))
    const iii = await client()
    const stdin = btoa('x'.repeat(5_000_001))
    await iii.result('sandbox::exec', { sandbox_id: await made(iii), cmd: 'cat', stdin })
    expect(String(asked[0]?.body.stdin).length).toBe(stdin.length)
  })

  test('that fails is an answer, and one that runs out of time an error', async () => {
    await scene.connected(guest({ exit_code: 127, stderr: 'exec: x: not found\n' }))
    const iii = await client()
    const sandbox_id = await made(iii)
    expect(await iii.result('sandbox::exec', { sandbox_id, cmd: 'x' })).toMatchObject({
      exit_code: 127,
      success: false,
      stderr: 'exec: x: not found\n',
    })
  })

  test('that runs out of time is an error', async () => {
    await scene.connected(guest({ exit_code: 124, timed_out: true }))
    const iii = await client()
    const sandbox_id = await made(iii)
    expect(await iii.fault('sandbox::exec', { sandbox_id, cmd: 'x', timeout_ms: 500 })).toMatchObject({
      type: 'execution',
      code: 'S200',
      message: 'exec timed out after 500ms',
      retryable: false,
    })
  })

  test('is alone in its sandbox', async () => {
    const held: TunnelStream[] = []
    const runner = await scene.connected({ 'guest.request': (_call, stream) => void held.push(stream) })
    const iii = await client()
    const sandbox_id = await made(iii)
    const first = iii.begin('sandbox::exec', { sandbox_id, cmd: 'x' })
    await runner.next('guest.request')
    const other = await client()
    expect(await other.fault('sandbox::exec', { sandbox_id, cmd: 'y' })).toMatchObject({ code: 'S003' })
    const { sandboxes } = await other.result<{ sandboxes: object[] }>('sandbox::list', {})
    expect(sandboxes).toMatchObject([{ exec_in_progress: true }])
    guestAnswers(held[0] as TunnelStream, 200, done)
    expect((await iii.answerTo(first)).error).toBeUndefined()
    const next = iii.begin('sandbox::exec', { sandbox_id, cmd: 'z' })
    await expect.poll(() => held.length).toBe(2)
    guestAnswers(held[1] as TunnelStream, 200, done)
    expect((await iii.answerTo(next)).result).toMatchObject({ success: true })
  })

  test('brings its trace back, and takes it along', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const runner = await scene.connected(guest())
    const iii = await client()
    const trace = { traceparent, baggage: 'a=b' }
    const created = await iii.call('sandbox::create', { image: 'python' }, trace)
    expect(created).toMatchObject(trace)
    const { sandbox_id } = created.result as { sandbox_id: string }
    expect(await iii.call('sandbox::exec', { sandbox_id, cmd: 'x' }, trace)).toMatchObject(trace)
    const traces = runner.calls.flatMap((call) => ('trace' in call ? [call.trace] : []))
    expect(traces).toEqual([traceparent, traceparent])
  })

  test('is noted in the audit log of its sandbox', async () => {
    await scene.connected(guest())
    const iii = await client()
    const sandbox_id = await made(iii)
    await iii.result('sandbox::exec', { sandbox_id, cmd: 'echo hi' })
    const run = sandboxIdOfUuid(sandbox_id)
    const log = async () => (await ask(`/v1/runs/${run}/audit`, { key: scene.tenant.key })).text()
    await expect.poll(log).toContain('"exec.exit"')
    expect(await log()).toContain('["echo","hi"]')
  })
})

describe('a run', () => {
  test('is a sandbox for one program', async () => {
    const asked: Asked[] = []
    const runner = await scene.connected(guest({ stdout: '4\n' }, asked))
    const iii = await client()
    const payload = { image: 'python', code: 'print(2+2)', files: [{ path: 'data.txt', content: 'x' }], env: ['A=1'] }
    expect(await iii.result('sandbox::run', payload)).toMatchObject({
      stdout: '4\n',
      success: true,
      sandbox_id: expect.any(String),
    })
    expect(asked.map(({ path }) => decodeURIComponent(path))).toEqual([
      '/files?path=/tmp/run/data.txt',
      '/files?path=/tmp/run/main.py',
      '/exec',
    ])
    expect(asked[1]?.text).toBe('print(2+2)')
    expect(asked[2]?.body).toMatchObject({ argv: ['python3', '/tmp/run/main.py'], cwd: '/tmp/run' })
    expect(runner.count('sandbox.destroy')).toBe(1)
  })

  test('that fails ends its sandbox, whatever it was told', async () => {
    const runner = await scene.connected(guest({ exit_code: 124, timed_out: true }))
    const payload = { image: 'python', code: '1', keep_sandbox: true }
    expect(await (await client()).fault('sandbox::run', payload)).toMatchObject({ code: 'S200' })
    expect(runner.count('sandbox.destroy')).toBe(1)
  })

  test('keeps its sandbox where it is told to, and makes none for a language that nobody knows', async () => {
    const runner = await scene.connected(guest())
    const iii = await client()
    const code = { image: 'python', code: '1' }
    expect(await iii.fault('sandbox::run', { ...code, lang: 'cobol' })).toMatchObject({ code: 'S001' })
    expect(runner.count('sandbox.create')).toBe(0)
    const { sandbox_id } = await iii.result<{ sandbox_id: string }>('sandbox::run', {
      ...code,
      lang: 'bash',
      keep_sandbox: true,
    })
    expect(runner.count('sandbox.destroy')).toBe(0)
    expect(await iii.result('sandbox::stop', { sandbox_id })).toMatchObject({ stopped: true })
  })
})

describe('an error', () => {
  test.each([
    [{ code: 'image_cap_exceeded', message: 'cpus=8 exceeds per-image cap 2' }, 'S400'],
    [{ code: 'image_not_installed', message: 'cannot boot it: not installed' }, 'S101'],
    [{ code: 'image_pull_failed', message: 'cannot pull it: the registry is away' }, 'S102'],
    [{ code: 'boot_failed', message: 'cannot boot: the kernel did not start' }, 'S300'],
  ] as const)('of a runner, %j, is told', async (error, code) => {
    await scene.connected({ 'sandbox.create': refusing(error) })
    const fault = await (await client()).fault('sandbox::create', { image: 'python' })
    expect(fault).toMatchObject({ code, message: error.message })
  })

  test('says that no runner is there', async () => {
    const fault = await (await client()).fault('sandbox::create', { image: 'python' })
    expect(fault).toMatchObject({ code: 'S300' })
  })
})
