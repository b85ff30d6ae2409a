/** The objects lose their memory in the middle and go on: storage and sockets live, memory does not. */

import {
  abortAllDurableObjects,
  evictAllDurableObjects,
  evictDurableObject,
  runDurableObjectAlarm,
  runInDurableObject,
} from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { RunRecord } from '@portico/shared/api'
import { newAccountId, newSandboxId } from '@portico/shared/ids'
import { frameType, type TunnelStream } from '@portico/shared/tunnel'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { objectsOf } from '../src/durable/objects.ts'
import { adminKey, answer, ask, newTenant, read, refusal, type Tenant } from './client.ts'
import { guestAnswers, ScriptedRunner, someUsage } from './scripted-runner.ts'

const objects = objectsOf(env)
const stub = (namespace: DurableObjectNamespace, name: string) => namespace.get(namespace.idFromName(name))

let tenant: Tenant

beforeEach(async () => {
  tenant = await newTenant()
})
afterEach(() => ScriptedRunner.cutAll())

const created = () => answer<RunRecord>('/v1/runs', { key: tenant.key, json: { image: 'python' } })
const listed = async () => (await answer<{ runs: RunRecord[] }>('/v1/runs', { key: tenant.key })).runs
const done = { exit_code: 0, stdout: 'hi\n', stderr: '', timed_out: false, duration_ms: 3 }
const guest = (_call: unknown, stream: TunnelStream) => guestAnswers(stream, 200, done)
/** The status and body of an exec; an answer that nobody reads would keep the runner's object awake. */
async function exec(id: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await ask(`/v1/runs/${id}/exec`, { key: tenant.key, json: { command: 'x' } })
  return { status: response.status, body: await response.json() }
}

describe('an account', () => {
  test('keeps its keys, its name and its index', async () => {
    await ScriptedRunner.start()
    const made = await created()
    await evictDurableObject(stub(env.ACCOUNTS, tenant.account))
    expect(await listed()).toEqual([made])
    expect(await objects.account(tenant.account).read()).toMatchObject({ id: tenant.account, name: 'a tenant' })
    const { keys } = await answer<{ keys: object[] }>(`/admin/accounts/${tenant.account}/keys`, { key: adminKey })
    expect(keys).toHaveLength(1)
  })

  test('that was never opened has nothing, and asking for it writes nothing', async () => {
    const id = newAccountId()
    expect(await objects.account(id).read()).toBeNull()
    expect(await objects.account(id).key('aaaaaaaaaa')).toBeNull()
    expect(await objects.account(id).list({ region: 'local' })).toEqual({ ok: true, value: { runs: [] } })
    const size = await runInDurableObject(stub(env.ACCOUNTS, id), (_object, state) => tables(state))
    expect(size).toEqual([])
  })

  test('takes an older copy of a sandbox for what it is', async () => {
    await ScriptedRunner.start()
    const record = await created()
    const entry = { record, createdAt: Date.now(), endedAt: null, usage: null, runningSince: null, happenings: [] }
    await objects.account(tenant.account).index({ ...entry, version: 1, state: 'error' })
    expect(await listed()).toEqual([record])
    const newer = { ...record, status: 'error' as const }
    await objects.account(tenant.account).index({ ...entry, record: newer, version: 99, state: 'error' })
    expect(await listed()).toEqual([newer])
  })
})

describe('the directory', () => {
  test('keeps its list', async () => {
    const { id } = await answer<{ id: string }>('/admin/accounts', { key: adminKey, json: { name: 'kept' } })
    await evictDurableObject(stub(env.DIRECTORY, 'directory'))
    const { accounts } = await answer<{ accounts: { id: string }[] }>('/admin/accounts', { key: adminKey })
    expect(accounts.find((account) => account.id === id)).toMatchObject({ name: 'kept' })
  })
})

describe('a region', () => {
  test('keeps its runners, their reports and its promises', async () => {
    const runner = await ScriptedRunner.start({ 'sandbox.create': () => undefined })
    await runner.report({ free_slots: 1 })
    const call = runner.next('sandbox.create')
    const pending = ask('/v1/runs', { key: tenant.key, json: { image: 'python' } })
    await call
    await evictDurableObject(stub(env.REGIONS, 'local'))
    const second = await refusal('/v1/runs', { key: tenant.key, json: { image: 'python' } })
    expect(second).toMatchObject({ status: 429, code: 'capacity' })
    runner.cut()
    expect((await pending).status).toBe(503)
  })

  test("that could not be told of a tunnel's end finds out before it counts on the runner", async () => {
    const runner = await ScriptedRunner.start()
    await abortAllDurableObjects()
    const { runners } = await answer<{ runners: { id: string; connected: boolean }[] }>('/admin/runners', {
      key: adminKey,
    })
    expect(runners.find(({ id }) => id === runner.id)).toMatchObject({ connected: false })
    const refused = await refusal('/v1/runs', { key: tenant.key, json: { image: 'python' } })
    expect(refused).toMatchObject({ status: 503, code: 'no_runner' })
  })
})

describe('a sandbox', () => {
  test('keeps its record, its route and its owner', async () => {
    const runner = await ScriptedRunner.start({ 'guest.request': guest })
    const made = await created()
    await evictDurableObject(stub(env.SANDBOXES, made.id))
    expect(await answer(`/v1/runs/${made.id}`, { key: tenant.key })).toEqual(made)
    expect((await exec(made.id)).status).toBe(200)
    await evictDurableObject(stub(env.SANDBOXES, made.id))
    expect((await ask(`/v1/runs/${made.id}`, { method: 'DELETE', key: tenant.key })).status).toBe(200)
    await evictDurableObject(stub(env.SANDBOXES, made.id))
    expect(await refusal(`/v1/runs/${made.id}`, { key: tenant.key })).toMatchObject({ status: 404 })
    expect(runner.count('sandbox.destroy')).toBe(1)
  })

  test('that was never created has nothing, and asking for it writes nothing', async () => {
    const id = newSandboxId()
    const caller = { account: tenant.account, region: 'local' }
    expect(await objects.sandbox(id).read(caller)).toMatchObject({ ok: false, error: { code: 'sandbox_not_found' } })
    expect(await objects.sandbox(id).claims('runner', 1)).toBe(false)
    expect(await objects.sandbox(id).lost('runner', 1)).toEqual({ ok: true, value: undefined })
    const size = await runInDurableObject(stub(env.SANDBOXES, id), (_object, state) => tables(state))
    expect(size).toEqual([])
  })

  test('whose create was interrupted is destroyed by its alarm', async () => {
    const runner = await ScriptedRunner.start({ 'sandbox.create': () => undefined })
    const call = runner.next('sandbox.create')
    const pending = ask('/v1/runs', { key: tenant.key, json: { image: 'python' } })
    const { sandbox, generation } = await call
    await abortAllDurableObjects()
    expect((await read(await pending)).status).toBeGreaterThanOrEqual(500)
    runner.cut()
    const back = await ScriptedRunner.connect({ id: runner.id, token: runner.token })
    await back.report({ sandboxes: [{ sandbox, generation, state: 'running' }] })
    expect(await objects.sandbox(sandbox).claims(runner.id, generation)).toBe(true)
    expect(back.count('sandbox.destroy')).toBe(0)
    expect(await runDurableObjectAlarm(stub(env.SANDBOXES, sandbox))).toBe(true)
    expect(back.calls.at(-1)).toEqual({ op: 'sandbox.destroy', sandbox, generation })
    expect(await listed()).toEqual([])
  })

  test('is forgotten 30 days after its end, and not before', async () => {
    await ScriptedRunner.start()
    const { id } = await created()
    await ask(`/v1/runs/${id}`, { method: 'DELETE', key: tenant.key })
    const sandbox = stub(env.SANDBOXES, id)
    await runDurableObjectAlarm(sandbox)
    const stored = await runInDurableObject(sandbox, (_object, state) => state.storage.kv.get<object>('record'))
    expect(stored).toMatchObject({ state: 'destroyed', usage: someUsage })
    const alarm = await runInDurableObject(sandbox, (_object, state) => state.storage.getAlarm())
    expect(alarm).toBeGreaterThan(Date.now() + 29 * 24 * 3_600_000)
  })
})

describe('a runner', () => {
  test('goes on with its socket after a sleep: calls both ways, ids that were never used, the ping answered without waking it', async () => {
    const runner = await ScriptedRunner.start({ 'guest.request': guest })
    const { id } = await created()
    const before = Math.max(...runner.streamIds)
    const object = stub(env.RUNNERS, runner.id)
    for (let sleep = 0; sleep < 3; sleep++) {
      await evictDurableObject(object)
      const pong = new Promise((resolve) =>
        runner.socket.addEventListener('message', ({ data }) => typeof data === 'string' && resolve(data)),
      )
      runner.socket.send('ping')
      expect(await pong).toBe('pong')
      await runner.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'running' }] })
      expect((await exec(id)).status).toBe(200)
    }
    expect(runner.socket.readyState).toBe(WebSocket.OPEN)
    expect(runner.streamIds.toSorted((a, b) => a - b)).toEqual(runner.streamIds)
    expect(Math.max(...runner.streamIds)).toBeGreaterThan(before)
    expect(runner.count('sandbox.destroy')).toBe(0)
  })

  test('is woken by an exec alone', async () => {
    const runner = await ScriptedRunner.start({ 'guest.request': guest })
    const { id } = await created()
    await evictDurableObject(stub(env.RUNNERS, runner.id))
    expect((await exec(id)).status).toBe(200)
  })

  test('knows after a sleep which sandboxes it was given', async () => {
    const runner = await ScriptedRunner.start()
    const { id } = await created()
    await evictAllDurableObjects()
    await runner.report({ sandboxes: [] })
    expect(await answer(`/v1/runs/${id}`, { key: tenant.key })).toMatchObject({ status: 'error' })
  })

  test('notices the end of a socket that ended while it slept', async () => {
    const runner = await ScriptedRunner.start()
    const { id } = await created()
    await evictDurableObject(stub(env.RUNNERS, runner.id))
    runner.cut()
    await expect.poll(async () => (await exec(id)).body.code).toBe('runner_disconnected')
    const { runners } = await answer<{ runners: { id: string }[] }>('/admin/runners', { key: adminKey })
    expect(runners.find((one) => one.id === runner.id)).toMatchObject({ connected: false })
  })

  test('closes a socket that slept before the runner had said hello, so that the runner dials again', async () => {
    const runner = await ScriptedRunner.start()
    const closed = new Promise<CloseEvent>((resolve) => runner.socket.addEventListener('close', resolve))
    await runInDurableObject(stub(env.RUNNERS, runner.id), (_object, state) => {
      for (const socket of state.getWebSockets()) {
        socket.serializeAttachment({ ...(socket.deserializeAttachment() as object), peer: null })
      }
    })
    await evictDurableObject(stub(env.RUNNERS, runner.id))
    runner.socket.send(new Uint8Array([frameType.ping, 0, 0, 8, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]))
    expect((await closed).code).toBe(1012)
  })

  test('a second hello is a broken protocol', async () => {
    const runner = await ScriptedRunner.start()
    const closed = new Promise<CloseEvent>((resolve) => runner.socket.addEventListener('close', resolve))
    const hello = new TextEncoder().encode('{"generation":1,"role":"runner","window":65536}')
    runner.socket.send(new Uint8Array([frameType.hello, 0, 0, hello.length, 0, 0, 0, 0, ...hello]))
    expect((await closed).code).toBe(1002)
  })
})

/** The tables that an object has made. */
function tables(state: DurableObjectState): unknown[] {
  const own = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'"
  return state.storage.sql.exec(own).toArray()
}
