/** Limits of an account through the API: what is in use, what is refused and in which words, and that a burst passes none too many. */

import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { AccountLimits, RunRecord, SnapshotResponse } from '@portico/shared/api'
import { newSandboxId } from '@portico/shared/ids'
import { answer as accept } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { noLimits } from '../src/account/limits.ts'
import { admissionMs, admit } from '../src/account/quotas.ts'
import { buildApp } from '../src/app.ts'
import { objectsOf } from '../src/durable/objects.ts'
import type { AdmitInput, InUse } from '../src/ports.ts'
import { table } from '../src/routes/table.ts'
import { MachineTable } from '../src/store/machines.ts'
import { accountSchema, migrate } from '../src/store/migrations.ts'
import { adminKey, answer, ask, newTenant, read, refusal } from './client.ts'
import { done } from './guest-scene.ts'
import { RunnerScene } from './runner-scene.ts'
import { guestAnswers, type Script, someUsage } from './scripted-runner.ts'

const objects = objectsOf(env)
const scene = new RunnerScene()
const stub = (account: string) => env.ACCOUNTS.get(env.ACCOUNTS.idFromName(account))
const limit = (limits: Partial<AccountLimits>, account = scene.tenant.account) =>
  answer<{ limits: AccountLimits }>(`/admin/accounts/${account}/limits`, {
    method: 'PUT',
    key: adminKey,
    json: limits,
  })
const account = () =>
  answer<{ limits: AccountLimits; in_use: InUse }>(`/admin/accounts/${scene.tenant.account}`, { key: adminKey })
const used = async () => (await account()).in_use
const create = (json: object = {}) =>
  ask('/v1/runs', { key: scene.tenant.key, json: { image: 'python', mem_mib: 128, ...json } })
const destroy = (id: string) => answer(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
const room = (more: Partial<AdmitInput> = {}): AdmitInput => ({
  action: 'create the sandbox',
  sandboxes: [newSandboxId()],
  vcpus: 1,
  memMib: 128,
  ...more,
})

/** A runner that has room for everything that a test makes. */
async function roomy(script: Script = {}) {
  const runner = await scene.connected(script)
  await runner.report({ free_slots: 100, free_mem_mib: 100_000, total_mem_mib: 100_000, vcpus: 100, free_vcpus: 100 })
  return runner
}

describe('limits', () => {
  test('are none for a new account, are set one by one, and outlive the object', async () => {
    expect(await account()).toEqual({
      id: scene.tenant.account,
      name: 'a tenant',
      created_at: expect.any(String),
      limits: noLimits,
      in_use: { sandboxes: 0, vcpus: 0, mem_mib: 0, snapshots: 0 },
    })
    expect(await limit({ sandboxes: 3, vcpus: 4 })).toEqual({ limits: { ...noLimits, sandboxes: 3, vcpus: 4 } })
    expect(await limit({ sandboxes: null })).toEqual({ limits: { ...noLimits, vcpus: 4 } })
    await evictDurableObject(stub(scene.tenant.account))
    expect((await account()).limits).toEqual({ ...noLimits, vcpus: 4 })
  })

  test.each([
    [{ sandboxes: -1 }],
    [{ vcpus: 1.5 }],
    [{ requests_per_second: 0 }],
    [{ sandboxen: 1 }],
    [{ mem_mib: '1' }],
  ])('%j are refused and change nothing', async (wrong) => {
    const refused = await refusal(`/admin/accounts/${scene.tenant.account}/limits`, {
      method: 'PUT',
      key: adminKey,
      json: { snapshots: 1, ...wrong },
    })
    expect(refused).toMatchObject({ status: 400, code: 'invalid_request' })
    expect((await account()).limits).toEqual(noLimits)
  })

  test('of a new account are those of the variables, and a later change of them leaves it alone', async () => {
    const { id } = await answer<{ id: string }>('/admin/accounts', { key: adminKey, json: { name: 'x' } })
    const known = { id, name: 'x', created_at: new Date().toISOString() }
    const reopened = async (variables: object) => {
      await runInDurableObject(stub(id), async (object) => {
        Object.assign(object, { env: { ...env, ...variables } })
        await (object as unknown as { open(account: object): Promise<void> }).open(known)
      })
      return (await answer<{ limits: AccountLimits }>(`/admin/accounts/${id}`, { key: adminKey })).limits
    }
    expect(await reopened({ DEFAULT_LIMIT_SANDBOXES: '5' })).toEqual(noLimits)
    await runInDurableObject(stub(id), (_object, { storage }) => storage.kv.delete('limits'))
    expect(await reopened({ DEFAULT_LIMIT_SANDBOXES: '5' })).toEqual({ ...noLimits, sandboxes: 5 })
    expect(await reopened({ DEFAULT_LIMIT_SANDBOXES: '6' })).toEqual({ ...noLimits, sandboxes: 5 })
  })
})

describe('room that is kept', () => {
  test('is what there is and no more, however many ask at once', async () => {
    await limit({ sandboxes: 10 })
    const asked = Array.from({ length: 50 }, () => objects.account(scene.tenant.account).admit(room()))
    const answers = await Promise.all(asked)
    expect(answers.filter(({ ok }) => ok)).toHaveLength(10)
    expect(await used()).toMatchObject({ sandboxes: 10, vcpus: 10, mem_mib: 1280 })
  })

  test('is kept for all of a call or for none of it, and once for the same sandboxes', async () => {
    await limit({ sandboxes: 3 })
    const port = objects.account(scene.tenant.account)
    const twins = room({ sandboxes: [newSandboxId(), newSandboxId()] })
    expect((await port.admit(twins)).ok).toBe(true)
    expect(await port.admit(room({ sandboxes: [newSandboxId(), newSandboxId()] }))).toMatchObject({
      ok: false,
      error: { code: 'quota_exceeded' },
    })
    expect((await port.admit(twins)).ok).toBe(true)
    expect((await used()).sandboxes).toBe(2)
    await evictDurableObject(stub(scene.tenant.account))
    expect((await used()).sandboxes).toBe(2)
    await port.dismiss(twins.sandboxes)
    expect((await used()).sandboxes).toBe(0)
  })

  test('is free again after its time', async () => {
    await runInDurableObject(stub(scene.tenant.account), (_object, { storage }) => {
      migrate(storage, accountSchema)
      const machines = new MachineTable(storage.sql)
      const limits = { ...noLimits, sandboxes: 1 }
      admit(machines, limits, room(), 1000)
      expect(() => admit(machines, limits, room(), 1000 + admissionMs - 1)).toThrow('sandboxes = 1 is reached')
      admit(machines, limits, room(), 1000 + admissionMs)
      expect(machines.inUse(1000 + admissionMs).sandboxes).toBe(1)
    })
  })
})

describe('a sandbox over the limit', () => {
  test('is refused with the limit and its value: of 50 creates at once exactly 10 pass', async () => {
    const runner = await roomy()
    await limit({ sandboxes: 10 })
    const responses = await Promise.all(Array.from({ length: 50 }, () => create()))
    expect(responses.filter(({ status }) => status === 201)).toHaveLength(10)
    for (const response of responses.filter(({ status }) => status !== 201)) {
      expect(response.headers.get('retry-after')).toBe('5')
      expect(await read(response)).toMatchObject({
        status: 429,
        code: 'quota_exceeded',
        retryable: true,
        error: "cannot create the sandbox: the account's limit sandboxes = 10 is reached",
      })
    }
    expect(runner.count('sandbox.create')).toBe(10)
    expect((await used()).sandboxes).toBe(10)
    const elsewhere = await newTenant()
    expect((await ask('/v1/runs', { key: elsewhere.key, json: { image: 'python' } })).status).toBe(201)
  })

  test.each([
    [{ vcpus: 3 }, { vcpus: 2 }, 'vcpus = 3'],
    [{ mem_mib: 300 }, { mem_mib: 256 }, 'mem_mib = 300'],
  ])('is refused by %j as well', async (limits, size, words) => {
    await roomy()
    await limit(limits)
    expect((await create(size)).status).toBe(201)
    expect(await read(await create(size))).toMatchObject({
      code: 'quota_exceeded',
      error: expect.stringContaining(words),
    })
  })

  test('has room as soon as another one has ended, failed or gone to sleep, and none to wake up in', async () => {
    await roomy()
    await limit({ sandboxes: 1 })
    const first = (await (await create()).json()) as RunRecord
    expect((await create()).status).toBe(429)
    await answer(`/v1/runs/${first.id}/hibernate`, { method: 'POST', key: scene.tenant.key })
    const second = (await (await create()).json()) as RunRecord
    const woken = await read(await scene.post(`${first.id}/resume`))
    expect(woken).toMatchObject({ status: 429, error: expect.stringContaining('cannot resume the sandbox: ') })
    expect(await scene.record(first.id)).toMatchObject({ status: 'hibernated' })
    await destroy(second.id)
    expect((await scene.post(`${first.id}/resume`)).status).toBe(200)
    expect((await scene.post(`${first.id}/resume`)).status).toBe(200)
    await destroy(first.id)
    expect((await used()).sandboxes).toBe(0)
  })

  test('does not wake by being used, forked or saved, until there is room', async () => {
    const runner = await roomy({ 'guest.request': (_call, stream) => guestAnswers(stream, 200, done) })
    await limit({ sandboxes: 1 })
    const { id } = (await (await create({ auto_resume: true })).json()) as RunRecord
    await answer(`/v1/runs/${id}/hibernate`, { method: 'POST', key: scene.tenant.key })
    const other = (await (await create()).json()) as RunRecord
    const uses = [
      ['use', () => scene.post(`${id}/exec`, { command: 'true' })],
      ['fork', () => scene.post(`${id}/fork`)],
      ['snapshot', () => scene.post(`${id}/snapshot`)],
    ] as const
    for (const [name, use] of uses) {
      const error = `cannot ${name} the sandbox: the account's limit sandboxes = 1 is reached`
      expect(await read(await use())).toMatchObject({ status: 429, code: 'quota_exceeded', error })
    }
    const asked = (['guest.request', 'sandbox.fork', 'sandbox.snapshot'] as const).map((op) => runner.count(op))
    expect(asked).toEqual([0, 0, 0])
    await destroy(other.id)
    expect((await scene.post(`${id}/exec`, { command: 'true' })).status).toBe(200)
    expect([(await used()).sandboxes, (await create()).status]).toEqual([1, 429])
    expect(await read(await scene.post(`${id}/fork`))).toMatchObject({ status: 429 })
    expect((await scene.post(`${id}/snapshot`)).status).toBe(201)
  })

  test('keeps its room where it is used while it falls asleep', async () => {
    let fallAsleep: () => void = () => undefined
    const runner = await roomy({
      'guest.request': (_call, stream) => guestAnswers(stream, 200, done),
      'sandbox.hibernate': (_asked, stream) => {
        fallAsleep = () => {
          accept(stream, { usage: someUsage })
          stream.end()
        }
      },
    })
    await limit({ sandboxes: 1 })
    const { id } = (await (await create({ auto_resume: true })).json()) as RunRecord
    const heard = runner.next('sandbox.hibernate')
    const asleep = scene.post(`${id}/hibernate`)
    await heard
    expect((await scene.post(`${id}/exec`, { command: 'true' })).status).toBe(200)
    fallAsleep()
    expect((await asleep).status).toBe(200)
    expect([(await used()).sandboxes, (await create()).status]).toEqual([1, 429])
  })

  test('that its runner refused takes no room', async () => {
    await limit({ sandboxes: 1 })
    expect((await create()).status).toBe(503)
    await roomy()
    expect((await create()).status).toBe(201)
  })

  test('is not made by a fork or a restore either', async () => {
    const runner = await roomy()
    await limit({ sandboxes: 3, snapshots: 1 })
    const { id } = await scene.created()
    const { snapshot_id } = (await (await scene.post(`${id}/snapshot`)).json()) as SnapshotResponse
    const more = await read(await scene.post(`${id}/snapshot`))
    expect(more).toMatchObject({
      status: 429,
      error: "cannot snapshot the sandbox: the account's limit snapshots = 1 is reached",
    })
    expect(runner.count('sandbox.snapshot')).toBe(1)
    const forked = await read(await scene.post(`${id}/fork`, { count: 3 }))
    expect(forked).toMatchObject({ status: 429, error: expect.stringContaining('cannot fork the sandbox: ') })
    expect(runner.count('sandbox.fork')).toBe(0)
    expect((await scene.post(`${id}/fork`, { count: 2 })).status).toBe(201)
    const restored = await read(await scene.post('restore', { snapshot_id }))
    expect(restored).toMatchObject({ status: 429, error: expect.stringContaining('cannot restore the sandbox: ') })
    expect(await used()).toEqual({ sandboxes: 3, vcpus: 3, mem_mib: 1536, snapshots: 1 })
    await answer(`/v1/snapshots/${snapshot_id}`, { method: 'DELETE', key: scene.tenant.key })
    expect((await scene.post(`${id}/snapshot`)).status).toBe(201)
  })
})

describe('requests per second', () => {
  test('over the limit are refused with the limit and its value, and other accounts are not', async () => {
    await limit({ requests_per_second: 5 })
    const app = buildApp(table)
    const start = Date.now()
    const send = (key: string) =>
      app.request('http://portico.test/v1/images', { headers: { authorization: `Bearer ${key}` } }, env)
    const responses = await Promise.all(Array.from({ length: 40 }, () => send(scene.tenant.key)))
    const passed = responses.filter(({ status }) => status === 200).length
    expect(passed).toBeGreaterThanOrEqual(5)
    expect(passed).toBeLessThanOrEqual(5 + Math.ceil(((Date.now() - start) / 1000) * 5))
    for (const response of responses.filter(({ status }) => status !== 200)) {
      expect(response.headers.get('retry-after')).toBe('1')
      expect(await read(response)).toMatchObject({
        status: 429,
        code: 'rate_limited',
        retryable: true,
        error: "cannot take the request: the account's limit requests_per_second = 5 is reached",
      })
    }
    const { key } = await newTenant()
    const others = await Promise.all(Array.from({ length: 40 }, () => send(key)))
    expect(others.every(({ status }) => status === 200)).toBe(true)
  })
})
