/** What an account sees of its sandboxes: names and labels, lists by filter and page, history, usage. */

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import {
  type AccountUsage,
  accountUsage,
  type History,
  history,
  type RunList,
  type RunRecord,
} from '@portico/shared/api'
import { describe, expect, test, vi } from 'vitest'
import { AccountObject } from '../src/durable/account.ts'
import { adminKey, answer, ask, newTenant, read, refusal } from './client.ts'
import { RunnerScene } from './runner-scene.ts'
import { ScriptedRunner, someUsage } from './scripted-runner.ts'

const scene = new RunnerScene()
const get = <Answer>(path: string, key = scene.tenant.key) => answer<Answer>(path, { key })
const list = (query = '') => get<RunList>(`/v1/runs${query}`)
const ids = async (query: string) => (await list(query)).runs.map(({ id }) => id)
const destroy = (id: string) => ask(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
const change = (id: string, json: object) => ask(`/v1/runs/${id}`, { method: 'PATCH', key: scene.tenant.key, json })
const accountOf = (tenant = scene.tenant) => env.ACCOUNTS.get(env.ACCOUNTS.idFromName(tenant.account))

/** Puts rows of sandboxes that are over into the account's index, straight into its storage. */
function fill(count: number): Promise<void> {
  return runInDurableObject(accountOf(), (_object, { storage }) => {
    const usage = JSON.stringify({ ...someUsage, uptime_ms: 3_600_000 })
    storage.transactionSync(() => {
      storage.sql.exec(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
         INSERT INTO sandboxes (id, region, state, version, record, created_at, ended_at, usage)
         SELECT 'run' || i, 'local', 'destroyed', 9, json_object('id', 'run' || i, 'status', 'destroyed', 'image', 'python',
           'vcpus', 1, 'mem_mib', 1024, 'region', 'local', 'create_ms', 1, 'created_at', '2026-01-01T00:00:00.000Z'),
           i, i, ? FROM n`,
        usage,
      )
    })
  })
}

describe('name and labels', () => {
  test('are given on create, changed, taken away, and survive the loss of memory', async () => {
    await scene.connected()
    const made = await scene.created({ name: ' first ', labels: { team: 'search', 'a.b/c': '1' } })
    expect(made).toMatchObject({ name: 'first', labels: { team: 'search', 'a.b/c': '1' } })
    expect(await scene.record(made.id)).toEqual(made)
    const renamed = (await (await change(made.id, { name: 'second' })).json()) as RunRecord
    expect(renamed).toEqual({ ...made, name: 'second' })
    await evictDurableObject(env.SANDBOXES.get(env.SANDBOXES.idFromName(made.id)))
    const bare = (await (await change(made.id, { name: null, labels: {} })).json()) as RunRecord
    expect(bare).not.toHaveProperty('name')
    expect(bare.labels).toEqual({})
    expect((await list()).runs).toEqual([bare])
    expect(await read(await change(made.id, {}))).toMatchObject({ code: 'invalid_request' })
  })

  test('are inherited by forks as far as labels go, and not by restores', async () => {
    await scene.connected()
    const { id } = await scene.created({ name: 'parent', labels: { team: 'search' } })
    const { forks } = (await (await scene.post(`${id}/fork`)).json()) as { forks: RunRecord[] }
    expect(forks[0]).not.toHaveProperty('name')
    expect(forks[0]?.labels).toEqual({ team: 'search' })
    const { snapshot_id } = (await (await scene.post(`${id}/snapshot`)).json()) as { snapshot_id: string }
    expect(await (await scene.post('restore', { snapshot_id })).json()).toMatchObject({ labels: {} })
    const marks = { name: 'child', labels: { a: 'b' } }
    expect(await (await scene.post('restore', { snapshot_id, ...marks })).json()).toMatchObject(marks)
  })
})

describe('a list', () => {
  test('is filtered by state, label, name and region, and by all of them together', async () => {
    await scene.connected()
    const one = await scene.created({ name: 'one', labels: { team: 'search', tier: 'a:b' } })
    const two = await scene.created({ name: 'two', labels: { team: 'search' } })
    const three = await scene.created()
    await scene.post(`${two.id}/hibernate`)
    const found = async (query: string) => (await ids(query)).sort()
    expect(await found('?state=hibernated')).toEqual([two.id])
    expect(await found('?state=running,hibernated')).toEqual([one.id, two.id, three.id].sort())
    expect(await found('?label=team:search')).toEqual([one.id, two.id].sort())
    expect(await found('?label=team:search&label=tier:a:b')).toEqual([one.id])
    expect(await found('?label=team:search&state=running&name=one&region=local')).toEqual([one.id])
    expect(await found('?label=team:sea')).toEqual([])
    expect(await found('?name=two')).toEqual([two.id])
    expect(await found('?region=eu')).toEqual([])
    expect(await found('?state=destroyed')).toEqual([])
  })

  test('takes eight labels at once and not one more', async () => {
    const query = (count: number) => `?${Array.from({ length: count }, (_, at) => `label=l${at}:x`).join('&')}`
    expect(await ids(query(8))).toEqual([])
    expect(await refusal(`/v1/runs${query(9)}`, { key: scene.tenant.key })).toMatchObject({
      status: 400,
      code: 'invalid_request',
      error: 'cannot list: at most 8 labels can be asked for at once',
    })
  })

  test('comes in pages, each sandbox once, whatever is made meanwhile', async () => {
    const runner = await scene.connected()
    await runner.report({ free_slots: 30 })
    const made = []
    for (let count = 0; count < 7; count++) made.push((await scene.created()).id)
    const seen: string[] = []
    let page = await list('?limit=3')
    for (;;) {
      seen.push(...page.runs.map(({ id }) => id))
      if (page.next_cursor === undefined) break
      await scene.created()
      page = await list(`?limit=3&cursor=${page.next_cursor}`)
    }
    expect(seen).toHaveLength(7)
    expect(new Set(seen)).toEqual(new Set(made))
  })

  test.each([
    'limit=0',
    'limit=1001',
    'limit=x',
    'state=asleep',
    'label=team',
    'label=:x',
    'label=a:1&label=a:2',
    'cursor=x',
  ])('with %s is refused', async (query) => {
    const refused = await refusal(`/v1/runs?${query}`, { key: scene.tenant.key })
    expect(refused).toMatchObject({ status: 400, code: 'invalid_request' })
  })
})

describe('the history', () => {
  test('has what is over, the newest end first, in pages; never what did not come to be, nor what still is', async () => {
    await scene.connected()
    const first = await scene.created({ name: 'kept', mem_mib: 1024 })
    const second = await scene.created()
    const still = await scene.created()
    await destroy(second.id)
    await destroy(first.id)
    await ScriptedRunner.cutAll()
    await refusal('/v1/runs', { key: scene.tenant.key, json: { image: 'python' } })
    const whole = history.parse(await get('/v1/runs/history'))
    expect(whole.sandboxes.map(({ id }) => id)).toEqual([first.id, second.id])
    expect(whole).not.toHaveProperty('next_cursor')
    expect(whole.sandboxes[0]).toMatchObject({
      ...{ status: 'destroyed', name: 'kept', image: 'python', vcpus: 1, mem_mib: 1024, region: 'local', create_ms: 7 },
      ...{ created_at: first.created_at, uptime_ms: someUsage.uptime_ms, cpu_ms: 120, mem_peak_bytes: 50_000_000 },
      cost_cents: 4,
    })
    const page = await get<History>('/v1/runs/history?limit=1')
    expect(page.sandboxes.map(({ id }) => id)).toEqual([first.id])
    const next = await get<History>(`/v1/runs/history?limit=1&cursor=${page.next_cursor}`)
    expect(next.sandboxes.map(({ id }) => id)).toEqual([second.id])
    expect(next).not.toHaveProperty('next_cursor')
    expect((await list()).runs.map(({ id }) => id)).toEqual([still.id])
  })

  test('is of the account and region of the key alone', async () => {
    await scene.connected()
    await destroy((await scene.created()).id)
    const abroad = { key: adminKey, json: { region: 'eu' } }
    const { key } = await answer<{ key: string }>(`/admin/accounts/${scene.tenant.account}/keys`, abroad)
    for (const other of [key, (await newTenant()).key]) {
      expect(await get<History>('/v1/runs/history', other)).toEqual({ sandboxes: [] })
    }
  })
})

describe('the usage of an account', () => {
  test('is nothing at first, then what runs by the time that it ran, then what it used in the end', async () => {
    const zero = accountUsage.parse(await get('/v1/usage'))
    expect(zero).toMatchObject({ active_sandboxes: 0, history_sandboxes: 0, total_cost_cents: 0, cpu_seconds: 0 })
    await scene.connected()
    const { id } = await scene.created({ vcpus: 2, mem_mib: 1024 })
    await runInDurableObject(accountOf(), (_object, { storage }) => {
      storage.sql.exec('UPDATE sandboxes SET running_since = running_since - 3600000')
    })
    const running = await get<AccountUsage>('/v1/usage')
    expect(running).toMatchObject({ active_sandboxes: 1, history_sandboxes: 0, history_cost_cents: 0 })
    expect(running.active_cost_cents).toBeGreaterThanOrEqual(6.5)
    expect(running.active_cost_cents).toBeLessThan(6.6)
    expect(running.total_cost_cents).toBe(running.active_cost_cents)
    expect(running.mem_seconds).toBeGreaterThanOrEqual(3600)
    await scene.post(`${id}/hibernate`)
    const asleep = await get<AccountUsage>('/v1/usage')
    expect(asleep).toMatchObject({ active_sandboxes: 1, active_cost_cents: 6.5, mem_seconds: 3600, cpu_seconds: 0.12 })
    await destroy(id)
    await evictDurableObject(accountOf())
    const over = await get<AccountUsage>('/v1/usage')
    expect(over).toMatchObject({ active_sandboxes: 0, history_sandboxes: 1, active_cost_cents: 0, cpu_seconds: 0.12 })
    expect(over).toMatchObject({ history_cost_cents: 6.5, total_cost_cents: 6.5, mem_seconds: 3600 })
  })

  test('and the first page of the history are read without reading what is old', async () => {
    await fill(20_000)
    const rowsRead = await runInDurableObject(accountOf(), async (object, { storage }) => {
      const account = object as unknown as { usage(): Promise<unknown>; history(input: object): Promise<unknown> }
      const read: number[] = []
      const exec = storage.sql.exec.bind(storage.sql)
      storage.sql.exec = ((...given: Parameters<typeof exec>) => {
        const cursor = exec(...given)
        const toArray = cursor.toArray.bind(cursor)
        cursor.toArray = () => {
          const rows = toArray()
          read.push(cursor.rowsRead)
          return rows
        }
        return cursor
      }) as typeof storage.sql.exec
      await account.usage()
      await account.history({ region: 'local', limit: 10 })
      return read.reduce((sum, rows) => sum + rows, 0)
    })
    expect(rowsRead).toBeLessThan(200)
  })
})

describe('an index that could not be told', () => {
  test.each([0, 1, 2].flatMap((at) => [[at, 'alone'] as const, [at, 'and after it'] as const]))(
    'at call %i of a life, %s, is right once the alarm went off, though everybody lost memory',
    async (broken, how) => {
      await scene.connected()
      const real = AccountObject.prototype.index
      let calls = 0
      const index = vi.spyOn(AccountObject.prototype, 'index').mockImplementation(async function (
        this: AccountObject,
        entry,
      ) {
        const at = calls++
        if (at === broken || (how !== 'alone' && at > broken)) throw new Error('the account is away')
        return real.call(this, entry)
      })
      const { id } = await scene.created()
      await scene.post(`${id}/hibernate`)
      await destroy(id)
      expect(calls).toBeGreaterThan(broken)
      await evictDurableObject(env.SANDBOXES.get(env.SANDBOXES.idFromName(id)))
      await evictDurableObject(accountOf())
      index.mockRestore()
      await runDurableObjectAlarm(env.SANDBOXES.get(env.SANDBOXES.idFromName(id)))
      expect((await list()).runs).toEqual([])
      expect((await get<History>('/v1/runs/history')).sandboxes).toMatchObject([{ id, status: 'destroyed' }])
      expect(await get<AccountUsage>('/v1/usage')).toMatchObject({ active_sandboxes: 0, history_sandboxes: 1 })
    },
  )
})

describe('a sandbox of which the index heard nothing for an hour', () => {
  const silent = () =>
    runInDurableObject(accountOf(), (_object, { storage }) => {
      storage.sql.exec('UPDATE sandboxes SET checked_at = 0')
    })

  test('is asked, and what the index has missed is told', async () => {
    await scene.connected()
    const { id } = await scene.created()
    await runInDurableObject(accountOf(), (_object, { storage }) => {
      storage.sql.exec(
        `UPDATE sandboxes SET version = 1, state = 'creating', record = json_set(record, '$.status', 'creating')`,
      )
    })
    await runInDurableObject(env.SANDBOXES.get(env.SANDBOXES.idFromName(id)), (_object, { storage }) =>
      storage.deleteAlarm(),
    )
    expect((await list()).runs).toMatchObject([{ status: 'creating' }])
    await silent()
    await runDurableObjectAlarm(accountOf())
    expect((await list()).runs).toMatchObject([{ id, status: 'running' }])
  })

  test('and that there is not any more is taken out', async () => {
    await scene.connected()
    const { id } = await scene.created()
    await runInDurableObject(accountOf(), (_object, { storage }) => {
      storage.sql.exec(`UPDATE sandboxes SET id = 'run${'a'.repeat(26)}' WHERE id = ?`, id)
    })
    await silent()
    await runDurableObjectAlarm(accountOf())
    expect((await list()).runs).toEqual([])
  })
})
