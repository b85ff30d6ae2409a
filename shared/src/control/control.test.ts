import { describe, expect, test } from 'vitest'
import { sandboxStates } from '../lifecycle.ts'
import { acknowledged, answers, edgeCall, pullProgress, runnerCall } from './index.ts'

const target = { sandbox: 'runx', generation: 1 }
const usage = { cpu_ms: 1, mem_peak_bytes: 2, mem_current_bytes: 3, disk_used_bytes: 4, uptime_ms: 5 }
const spec = { image: 'python', vcpus: 1, mem_mib: 512, disk_mib: 1024, idle_timeout: 0, env: {} }
const fullSpec = { ...spec, auto_resume: true, on_idle: 'hibernate' }
const child = (sandbox: string) => ({ sandbox, generation: 1 })

const calls = [
  { op: 'sandbox.create', ...target, spec: fullSpec },
  { op: 'sandbox.update', ...target, idle_timeout: 5 },
  { op: 'sandbox.destroy', ...target },
  { op: 'sandbox.stats', ...target },
  { op: 'sandbox.fork', ...target, children: [child('runa'), child('runb')] },
  { op: 'sandbox.snapshot', ...target, snapshot: 'snapx' },
  { op: 'sandbox.restore', ...target, snapshot: 'snapx', spec: fullSpec },
  { op: 'sandbox.hibernate', ...target },
  { op: 'sandbox.resume', ...target },
  { op: 'guest.request', ...target, method: 'GET', path: '/health', headers: { a: 'b' }, request_id: 'req1' },
  {
    op: 'port.request',
    ...target,
    port: 8080,
    method: 'PROPFIND',
    path: '/a?b',
    headers: [
      ['x', '1'],
      ['x', '2'],
    ],
    body: true,
    request_id: 'req1',
  },
  { op: 'port.socket', ...target, port: 65_535, path: '/', headers: [], protocols: ['a', 'b'] },
  {
    op: 'checkpoint.create',
    ...target,
    checkpoint: 'cp1',
    name: '',
    created_at: '2026-01-01T00:00:00.000Z',
    wait: false,
  },
  { op: 'checkpoint.list', ...target },
  { op: 'checkpoint.wait', ...target, checkpoint: 'cp1' },
  { op: 'checkpoint.restore', ...target, checkpoint: 'cp1' },
  { op: 'checkpoint.delete', ...target, checkpoint: 'cp1' },
  { op: 'guest.image', ...target, image: 'node' },
]
const guestRequest = calls.find(({ op }) => op === 'guest.request')
const imageCalls = [
  { op: 'image.pull', reference: 'alpine:3.20', refresh: false },
  { op: 'image.list' },
  { op: 'image.remove', name: `docker.io/library/alpine@sha256:${'a'.repeat(64)}` },
]
const deletion = { op: 'snapshot.delete', snapshot: 'snapx' }

describe('a call of the edge', () => {
  test.each(calls)('$op is taken, without fields that nobody knows', (call) => {
    expect(edgeCall.parse({ ...call, later: 1 })).toEqual(call)
  })

  test.each(calls)('$op must name its sandbox and a generation from 1', (call) => {
    expect(edgeCall.safeParse({ ...call, sandbox: undefined }).success).toBe(false)
    for (const generation of [undefined, 0, 1.5, '1'])
      expect(edgeCall.safeParse({ ...call, generation }).success).toBe(false)
  })

  test('each op has an answer, and no answer is without an op', () => {
    expect(Object.keys(answers).sort()).toEqual([...calls, ...imageCalls, deletion].map(({ op }) => op).sort())
  })

  test.each(imageCalls)('$op names no sandbox, as images are of the runner', (call) => {
    expect(edgeCall.parse({ ...call, later: 1 })).toEqual(call)
  })

  test.each(['', 'a'.repeat(513)])('a reference has 1 to 512 characters', (reference) => {
    expect(edgeCall.safeParse({ op: 'image.pull', reference, refresh: true }).success).toBe(false)
    expect(edgeCall.safeParse({ op: 'image.pull', reference: 'alpine', refresh: 'yes' }).success).toBe(false)
  })

  test('the delete of a snapshot names no sandbox, as that may be gone', () => {
    expect(edgeCall.parse({ ...deletion, later: 1 })).toEqual(deletion)
    expect(edgeCall.safeParse({ op: 'snapshot.delete' }).success).toBe(false)
  })

  test('a spec of an older edge never wakes by itself and ends when it is idle', () => {
    const parsed = edgeCall.parse({ op: 'sandbox.create', ...target, spec })
    expect(parsed).toMatchObject({ spec: { auto_resume: false, on_idle: 'destroy' } })
  })

  test('a fork has 1 to 64 children, each with a generation', () => {
    const fork = (children: unknown[]) => edgeCall.safeParse({ op: 'sandbox.fork', ...target, children }).success
    expect(fork(Array.from({ length: 64 }, () => child('runa')))).toBe(true)
    expect(fork(Array.from({ length: 65 }, () => child('runa')))).toBe(false)
    expect(fork([])).toBe(false)
    expect(fork([{ sandbox: 'runa' }])).toBe(false)
  })

  test.each(['TRACE', 'CONNECT', 'get', ''])('the method %j is refused', (method) => {
    expect(edgeCall.safeParse({ ...guestRequest, method }).success).toBe(false)
  })

  test.each(['health', '', 'http://other/'])('the path %j is refused', (path) => {
    expect(edgeCall.safeParse({ ...guestRequest, path }).success).toBe(false)
  })

  test.each([0, 65_536, 1.5, '80'])('the port %j is refused', (port) => {
    for (const call of calls.filter(({ op }) => op.startsWith('port.')))
      expect(edgeCall.safeParse({ ...call, port }).success).toBe(false)
  })

  test('an unknown op is refused', () => {
    expect(edgeCall.safeParse({ op: 'sandbox.explode', ...target }).success).toBe(false)
  })
})

describe('an answer', () => {
  test('refuses with code and message', () => {
    const refused = { ok: false, error: { code: 'moved', message: 'cannot: elsewhere' } }
    for (const schema of [...Object.values(answers), acknowledged]) expect(schema.parse(refused)).toEqual(refused)
  })

  test('accepts with its fields', () => {
    expect(answers['sandbox.create'].safeParse({ ok: true, resolved_image: 'python', create_ms: 7 }).success).toBe(true)
    expect(answers['sandbox.create'].safeParse({ ok: true }).success).toBe(false)
    expect(answers['sandbox.destroy'].parse({ ok: true, usage })).toEqual({ ok: true, usage })
    expect(answers['guest.request'].safeParse({ ok: true, status: 199, headers: {} }).success).toBe(false)
    expect(answers['guest.request'].safeParse({ ok: true, status: 599, headers: {} }).success).toBe(true)
    const children = [
      { sandbox: 'runa', create_ms: 3 },
      { sandbox: 'runb', error: { code: 'capacity', message: 'cannot' } },
    ]
    const forked = { ok: true, resolved_image: 'python', pause_ms: 4, children }
    expect(answers['sandbox.fork'].parse(forked)).toEqual(forked)
    expect(answers['sandbox.fork'].safeParse({ ...forked, children: [{}] }).success).toBe(false)
    expect(answers['sandbox.hibernate'].safeParse({ ok: true }).success).toBe(false)
    expect(acknowledged.parse({ ok: true, more: 1 })).toEqual({ ok: true })
  })
})

describe('a line of the answer to a pull', () => {
  const config = { env: {}, workdir: '/', user: '', entrypoint: [], cmd: ['sh'] }
  const image = { name: 'r/a@sha256:1', reference: 'r/a:1', digest: 'sha256:1', size_bytes: 5, config }

  test.each([
    { event: 'progress', phase: 'pull', done_bytes: 1, total_bytes: 2 },
    { event: 'progress', phase: 'erofs' },
    { event: 'done', image, took_ms: { pull: 3 } },
    { event: 'error', error: { code: 'image_missing', message: 'cannot' } },
  ])('tells how it goes and how it ended: $event', (line) => {
    expect(pullProgress.parse(line)).toEqual(line)
  })

  test('is nothing else', () => {
    expect(pullProgress.safeParse({ event: 'progress', phase: 'boot' }).success).toBe(false)
    expect(pullProgress.safeParse({ event: 'done', image: { ...image, config: {} }, took_ms: {} }).success).toBe(false)
  })
})

describe('a call of a runner', () => {
  const status = {
    op: 'runner.status',
    session: 's',
    version: '1',
    accelerator: 'tcg',
    draining: false,
    vcpus: 2,
    free_mem_mib: 1000,
    free_slots: 3,
    images: ['python'],
    sandboxes: sandboxStates.map((state) => ({ ...target, state })),
  }

  test('tells its status', () => {
    expect(runnerCall.parse({ ...status, later: 1 })).toEqual({ ...status, total_mem_mib: 0, load: 0, warm: {} })
    expect(runnerCall.safeParse({ ...status, accelerator: 'magic' }).success).toBe(false)
    expect(runnerCall.safeParse({ ...status, sandboxes: [{ ...target, state: 'gone' }] }).success).toBe(false)
  })

  test.each([
    ['free_mem_mib', 33_554_433],
    ['free_vcpus', 65_537],
    ['free_slots', 1_048_577],
    ['total_mem_mib', 33_554_433],
    ['vcpus', 65_537],
  ])('does not claim more than a host can have: %s of %d', (field, value) => {
    expect(runnerCall.safeParse({ ...status, [field]: value - 1 }).success).toBe(true)
    expect(runnerCall.safeParse({ ...status, [field]: value }).success).toBe(false)
  })

  test('tells what happened to a sandbox', () => {
    const event = { op: 'sandbox.event', ...target, state: 'destroyed', usage }
    expect(runnerCall.parse(event)).toEqual(event)
    expect(runnerCall.safeParse({ ...event, state: 'idle' }).success).toBe(false)
  })
})
