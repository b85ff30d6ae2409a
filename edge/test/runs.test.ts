/** A sandbox's life through the API, against runners that speak the real protocol. */

import { runDurableObjectAlarm } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { type ImageList, type RunRecord, runRecord } from '@portico/shared/api'
import { FakeClock } from '@portico/shared/clock'
import { answer as accept, refuse } from '@portico/shared/tunnel'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { buildApp } from '../src/app.ts'
import { table } from '../src/routes/table.ts'
import { answer, ask, newTenant, read, refusal, type Tenant } from './client.ts'
import { enrol, refusing, ScriptedRunner, someUsage } from './scripted-runner.ts'

let tenant: Tenant

beforeEach(async () => {
  tenant = await newTenant()
})

afterEach(() => ScriptedRunner.cutAll())

const asked = (json: object = { image: 'python' }) => ask('/v1/runs', { key: tenant.key, json })
const created = (json: object = { image: 'python' }) => answer<RunRecord>('/v1/runs', { key: tenant.key, json })
const record = (id: string) => answer<RunRecord>(`/v1/runs/${id}`, { key: tenant.key })
const listed = async () => (await answer<{ runs: RunRecord[] }>('/v1/runs', { key: tenant.key })).runs
const destroy = (id: string) => ask(`/v1/runs/${id}`, { method: 'DELETE', key: tenant.key })
const alarm = (id: string) => runDurableObjectAlarm(env.SANDBOXES.get(env.SANDBOXES.idFromName(id)))

describe('a sandbox', () => {
  test('is created with the documented defaults, read, listed, changed and destroyed', async () => {
    const runner = await ScriptedRunner.start()
    const response = await asked({})
    expect(response.status).toBe(201)
    const made = runRecord.parse(await response.json())
    expect(made).toMatchObject({
      status: 'running',
      image: 'node:22-slim',
      resolved_image: 'node:22-slim',
      region: 'local',
      vcpus: 1,
      mem_mib: 1024,
      disk_mib: 4096,
      timeout: 300,
      create_ms: 7,
    })
    expect(await record(made.id)).toEqual(made)
    expect(await listed()).toEqual([made])
    const path = `/v1/runs/${made.id}`
    const changed = await answer<RunRecord>(path, { method: 'PATCH', key: tenant.key, json: { timeout: -1 } })
    expect(changed).toEqual({ ...made, timeout: 0 })
    expect(await listed()).toEqual([changed])
    const ended = await answer(path, { method: 'DELETE', key: tenant.key })
    expect(ended).toEqual({ status: 'destroyed', ...someUsage, cost_cents: 4 })
    expect(await read(await destroy(made.id))).toMatchObject({ status: 404, code: 'sandbox_not_found' })
    expect(await refusal(path, { key: tenant.key })).toMatchObject({ status: 404 })
    expect(await listed()).toEqual([])
    expect(runner.calls.map(({ op }) => op)).toEqual(['sandbox.create', 'sandbox.update', 'sandbox.destroy'])
  })

  test('gives the runner what was asked for, and keeps the environment out of the record', async () => {
    const runner = await ScriptedRunner.start()
    const sizes = { vcpus: 2, mem_mib: 512, disk_mib: 100, timeout: 5 }
    const made = await created({ image: 'node', ...sizes, env: { TOKEN: 'hidden' } })
    expect(runner.calls[0]).toMatchObject({
      sandbox: made.id,
      generation: 1,
      spec: { image: 'node', vcpus: 2, mem_mib: 512, disk_mib: 100, idle_timeout: 5, env: { TOKEN: 'hidden' } },
    })
    expect(JSON.stringify(await record(made.id))).not.toContain('hidden')
  })

  test('is listed newest first', async () => {
    await ScriptedRunner.start()
    const ids = [(await created()).id, (await created()).id, (await created()).id]
    const times = (await listed()).map(({ created_at }) => Date.parse(created_at))
    expect((await listed()).map(({ id }) => id).sort()).toEqual(ids.sort())
    expect(times).toEqual(times.toSorted((a, b) => b - a))
  })
})

describe('a create', () => {
  test('without a runner is refused at once and leaves nothing', async () => {
    expect(await read(await asked())).toMatchObject({ status: 503, code: 'no_runner', retryable: true })
    expect(await listed()).toEqual([])
  })

  test.each([
    ['boot_failed', 503],
    ['image_unknown', 400],
  ] as const)('that its runner fails with %s tells why and leaves nothing', async (code, status) => {
    await ScriptedRunner.start({ 'sandbox.create': refusing({ code, message: 'cannot boot: a reason' }) })
    expect(await read(await asked())).toMatchObject({ status, code, error: 'cannot boot: a reason' })
    expect(await listed()).toEqual([])
  })

  test('goes to another runner when the first has no room after all, in a generation of its own', async () => {
    const full = refusing({ code: 'capacity', message: 'cannot create: full' })
    const first = await ScriptedRunner.start({ 'sandbox.create': full })
    await first.report({ free_mem_mib: 65_536 })
    const second = await ScriptedRunner.start()
    const made = await created()
    expect(made.status).toBe('running')
    expect([first.count('sandbox.create'), second.count('sandbox.create')]).toEqual([1, 1])
    expect(second.calls[0]).toMatchObject({ sandbox: made.id, generation: 2 })
  })

  test('tells the refusal of the last runner when all are full', async () => {
    await ScriptedRunner.start({ 'sandbox.create': refusing({ code: 'capacity', message: 'cannot create: no slot' }) })
    expect(await read(await asked())).toMatchObject({ status: 429, error: 'cannot create: no slot', retryable: true })
  })

  test('does not share the last place with another that comes at once', async () => {
    const runner = await ScriptedRunner.start()
    await runner.report({ free_slots: 1 })
    const answers = await Promise.all([asked(), asked(), asked()])
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 429, 429])
    expect(runner.count('sandbox.create')).toBe(1)
  })

  test('finds room again once the runner reports it', async () => {
    const runner = await ScriptedRunner.start()
    await runner.report({ free_slots: 1 })
    const { id } = await created()
    expect((await asked()).status).toBe(429)
    const sandboxes = [{ sandbox: id, generation: 1, state: 'running' as const }]
    await runner.report({ free_slots: 1, sandboxes })
    expect((await asked()).status).toBe(201)
  })

  test('gives its place back when it fails', async () => {
    let tries = 0
    const runner = await ScriptedRunner.start({
      'sandbox.create': (_call, stream) => {
        if (tries++ === 0) return refuse(stream, { code: 'boot_failed', message: 'cannot boot: bad luck' })
        accept(stream, { resolved_image: 'python', create_ms: 1 })
        stream.end()
      },
    })
    await runner.report({ free_slots: 1 })
    expect((await asked()).status).toBe(503)
    await expect.poll(async () => (await asked()).status).toBe(201)
  })

  test('whose runner vanishes is refused as retryable, and what the runner may have made is destroyed when it is back', async () => {
    const enrolled = await enrol()
    const runner = await ScriptedRunner.connect(enrolled, { 'sandbox.create': () => undefined })
    await runner.report()
    const call = runner.next('sandbox.create')
    const pending = asked()
    const { sandbox, generation } = await call
    runner.cut()
    expect(await read(await pending)).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    expect(await listed()).toEqual([])
    const back = await ScriptedRunner.connect(enrolled)
    await back.report({ sandboxes: [{ sandbox, generation, state: 'running' }] })
    await alarm(sandbox)
    expect(back.calls).toContainEqual({ op: 'sandbox.destroy', sandbox, generation })
  })

  test('that is destroyed on the way ends as a conflict, and the runner destroys it', async () => {
    const finish = Promise.withResolvers<void>()
    const runner = await ScriptedRunner.start({
      'sandbox.create': async (_call, stream) => {
        await finish.promise
        accept(stream, { resolved_image: 'python', create_ms: 1 })
        stream.end()
      },
    })
    const call = runner.next('sandbox.create')
    const pending = asked()
    const { sandbox } = await call
    await expect.poll(listed).toMatchObject([{ id: sandbox, status: 'creating' }])
    expect((await destroy(sandbox)).status).toBe(200)
    finish.resolve()
    expect(await read(await pending)).toMatchObject({ status: 409, code: 'conflict' })
    expect(runner.count('sandbox.destroy')).toBe(1)
    expect(await listed()).toEqual([])
  })

  test.each([
    ['network', { allow: ['example.com'] }],
    ['network', { allow: [], deny: [] }],
    ['network', {}],
    ['network_profile', 'unrestricted'],
    ['credentials', { openai: 'secret' }],
    ['credentials_v2', { openai: { key: 'secret' } }],
  ])('with the security setting %s %j is refused by its name', async (field, value) => {
    const runner = await ScriptedRunner.start()
    const refused = await read(await asked({ image: 'python', [field]: value }))
    expect(refused).toMatchObject({ status: 400, code: 'unsupported' })
    expect(refused.error).toContain(`${field}:`)
    expect(refused.error).not.toContain('secret')
    expect(runner.calls).toEqual([])
  })

  test('with the profile that every sandbox has is accepted', async () => {
    await ScriptedRunner.start()
    expect((await asked({ network_profile: 'locked-down', credentials: {} })).status).toBe(201)
  })
})

describe('what a runner tells', () => {
  test('an idle end takes the sandbox away', async () => {
    const runner = await ScriptedRunner.start()
    const { id } = await created()
    const event = { op: 'sandbox.event', sandbox: id, generation: 1, state: 'destroyed', reason: 'idle' }
    await runner.tell({ ...event, usage: someUsage })
    expect(await refusal(`/v1/runs/${id}`, { key: tenant.key })).toMatchObject({ status: 404 })
    expect(await listed()).toEqual([])
    await runner.tell({ ...event, usage: someUsage })
    expect(runner.count('sandbox.destroy')).toBe(0)
  })

  test('a crash leaves the sandbox in error with its reason until it is destroyed', async () => {
    const runner = await ScriptedRunner.start()
    const { id } = await created()
    await runner.tell({ op: 'sandbox.event', sandbox: id, generation: 1, state: 'error', reason: 'out of memory' })
    expect(await record(id)).toMatchObject({ status: 'error', reason: 'out of memory' })
    expect(await listed()).toMatchObject([{ id, status: 'error' }])
    const exec = await refusal(`/v1/runs/${id}/exec`, { key: tenant.key, json: { command: 'true' } })
    expect(exec).toMatchObject({ status: 500, code: 'sandbox_failed' })
    expect(exec.error).toContain('out of memory')
    expect((await destroy(id)).status).toBe(200)
  })

  test('news of another generation, or of another runner, changes nothing', async () => {
    const runner = await ScriptedRunner.start()
    const { id } = await created()
    const other = await ScriptedRunner.start()
    await runner.tell({ op: 'sandbox.event', sandbox: id, generation: 2, state: 'destroyed' })
    await other.tell({ op: 'sandbox.event', sandbox: id, generation: 1, state: 'destroyed' })
    expect(await record(id)).toMatchObject({ status: 'running' })
  })

  test('a sandbox that its runner no longer has is marked as lost, and can be destroyed', async () => {
    const enrolled = await enrol()
    const runner = await ScriptedRunner.connect(enrolled)
    await runner.report()
    const { id } = await created()
    const notFound = refusing({ code: 'sandbox_not_found', message: 'cannot destroy: unknown' })
    const restarted = await ScriptedRunner.connect(enrolled, { 'sandbox.destroy': notFound })
    await restarted.report({ session: 'session-2', sandboxes: [] })
    expect(await record(id)).toMatchObject({ status: 'error', reason: 'lost by its runner' })
    expect(await (await destroy(id)).json()).toMatchObject({ status: 'destroyed', cpu_ms: 0 })
    expect(await listed()).toEqual([])
  })

  test('a status that comes before the answer of a destroy does not take the final usage away', async () => {
    const runner: ScriptedRunner = await ScriptedRunner.start({
      'sandbox.destroy': async (_call, stream) => {
        await runner.report({ sandboxes: [] })
        accept(stream, { usage: someUsage })
        stream.end()
      },
    })
    const { id } = await created()
    expect(await (await destroy(id)).json()).toMatchObject({ status: 'destroyed', ...someUsage })
  })

  test('a sandbox that the runner still has stays', async () => {
    const runner = await ScriptedRunner.start()
    const { id } = await created()
    await runner.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'running' }] })
    expect(await record(id)).toMatchObject({ status: 'running' })
    expect(runner.count('sandbox.destroy')).toBe(0)
  })

  test('what the edge does not know, or knows in another generation, the runner is told to destroy', async () => {
    const runner = await ScriptedRunner.start()
    const { id } = await created()
    const stranger = `run${'a'.repeat(26)}`
    const report = [
      { sandbox: id, generation: 1, state: 'running' as const },
      { sandbox: stranger, generation: 3, state: 'running' as const },
      { sandbox: 'not an id', generation: 1, state: 'running' as const },
    ]
    await runner.report({ sandboxes: report })
    expect(runner.calls.slice(1)).toEqual([{ op: 'sandbox.destroy', sandbox: stranger, generation: 3 }])
    expect(await record(id)).toMatchObject({ status: 'running' })
  })
})

describe('a destroy', () => {
  test('asked for twice at once is made once, and both get the same answer', async () => {
    const runner = await ScriptedRunner.start()
    const { id } = await created()
    const [one, two] = await Promise.all([destroy(id), destroy(id)])
    expect([one.status, two.status]).toEqual([200, 200])
    expect(await one.json()).toEqual(await two.json())
    expect(runner.count('sandbox.destroy')).toBe(1)
  })

  test('while the runner is away is refused as retryable, hides the sandbox, and is finished by the alarm', async () => {
    const enrolled = await enrol()
    const runner = await ScriptedRunner.connect(enrolled)
    await runner.report()
    const { id } = await created()
    runner.cut()
    expect(await read(await destroy(id))).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    expect(await listed()).toEqual([])
    expect(await refusal(`/v1/runs/${id}`, { key: tenant.key })).toMatchObject({ status: 404 })
    const back = await ScriptedRunner.connect(enrolled)
    await back.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'running' }] })
    await alarm(id)
    expect(back.count('sandbox.destroy')).toBe(1)
    expect((await destroy(id)).status).toBe(404)
  })

  test('can be repeated by its owner once the runner is back, and then tells the usage', async () => {
    const enrolled = await enrol()
    const runner = await ScriptedRunner.connect(enrolled)
    await runner.report()
    const { id } = await created()
    runner.cut()
    expect((await destroy(id)).status).toBe(503)
    await ScriptedRunner.connect(enrolled)
    expect(await (await destroy(id)).json()).toMatchObject({ status: 'destroyed', ...someUsage })
  })
})

describe('the images of a region', () => {
  /** Of an isolate of its own. */
  const images = async (app: ReturnType<typeof buildApp>, key = tenant.key): Promise<unknown> => {
    const headers = { authorization: `Bearer ${key}` }
    const response = await app.request('http://portico.test/v1/images', { headers }, env)
    const { own, ...rest } = (await response.json()) as ImageList
    expect(own).toEqual([])
    return rest
  }

  test('are what its connected runners offer', async () => {
    await ScriptedRunner.start()
    const other = await ScriptedRunner.start()
    await other.report({ images: ['ruby', 'python'] })
    await ScriptedRunner.start({}, 'eu')
    expect(await images(buildApp())).toEqual({ images: ['node', 'python', 'ruby'] })
    other.cut()
    await expect.poll(() => images(buildApp())).toEqual({ images: ['node', 'python'] })
  })

  test('are asked for once in 10 s by an isolate, whichever account wants them', async () => {
    await ScriptedRunner.start()
    const clock = new FakeClock()
    const app = buildApp(table, clock)
    const usual = { images: ['node', 'python'] }
    expect(await images(app)).toEqual(usual)
    const other = await ScriptedRunner.start()
    await other.report({ images: ['ruby'] })
    await expect.poll(() => images(buildApp())).toEqual({ images: ['node', 'python', 'ruby'] })
    await clock.advance(9_999)
    expect(await images(app, (await newTenant()).key)).toEqual(usual)
    expect(await images(app, (await newTenant('eu')).key)).toEqual({ images: [] })
    await clock.advance(1)
    expect(await images(app)).toEqual({ images: ['node', 'python', 'ruby'] })
  })
})
