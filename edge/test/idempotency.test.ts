/** `Idempotency-Key` on creating calls: one sandbox for one key, whatever happens to the calls. */

import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { ForkResponse, RunRecord, SnapshotResponse } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { answer as answerCall } from '@portico/shared/tunnel'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answerKeptMs, beginOnce, pendingMs, suspendOnce } from '../src/account/idempotency.ts'
import { IdempotencyTable } from '../src/store/idempotency.ts'
import { adminKey, answer, ask, newTenant, read } from './client.ts'
import { RunnerScene } from './runner-scene.ts'
import { refusing } from './scripted-runner.ts'

const scene = new RunnerScene()
const stub = (account = scene.tenant.account) => env.ACCOUNTS.get(env.ACCOUNTS.idFromName(account))
const small = { image: 'python', mem_mib: 128 }
const send = (path: string, idempotency: string, json?: object, key = scene.tenant.key) =>
  ask(`/v1/runs${path}`, {
    method: 'POST',
    key,
    headers: { 'idempotency-key': idempotency },
    ...(json === undefined ? {} : { json }),
  })
const create = (idempotency = 'once', json: object = small, key = scene.tenant.key) => send('', idempotency, json, key)
const recordOf = async (response: Response) => (await response.json()) as RunRecord
const isReplay = (response: Response) => response.headers.get('idempotent-replayed')
/** As if the caller had gone before it told the account how the call ended. */
const unanswered = (ms = 0) =>
  runInDurableObject(stub(), (_object, { storage }) => {
    storage.sql.exec('UPDATE idempotency SET status = NULL, body = NULL, since = since - ?', ms)
  })

describe('a repeated call', () => {
  test('makes one sandbox and gets the first answer, also after the object lost its memory', async () => {
    const runner = await scene.connected()
    const first = await create()
    expect([first.status, isReplay(first)]).toEqual([201, null])
    const made = await recordOf(first)
    await evictDurableObject(stub())
    await answer(`/v1/runs/${made.id}/hibernate`, { method: 'POST', key: scene.tenant.key })
    const second = await create()
    expect([second.status, isReplay(second), second.headers.get('content-type')]).toEqual([
      201,
      'true',
      'application/json',
    ])
    expect(await recordOf(second)).toEqual(made)
    expect(runner.count('sandbox.create')).toBe(1)
  })

  test('of another body, path or region is refused; spelling the body otherwise is the same call', async () => {
    await scene.connected()
    const { id } = await recordOf(await create())
    const { key: abroad } = await answer<{ key: string }>(`/admin/accounts/${scene.tenant.account}/keys`, {
      key: adminKey,
      json: { region: 'eu' },
    })
    for (const other of [
      await create('once', { ...small, vcpus: 2 }),
      await send(`/${id}/fork`, 'once', { count: 1 }),
      await create('once', small, abroad),
    ]) {
      expect(await read(other)).toMatchObject({ status: 422, code: 'idempotency_mismatch', retryable: false })
    }
    const labels = [
      { a: '1', b: '2' },
      { b: '2', a: '1' },
    ]
    await create('labels', { ...small, labels: labels[0] })
    expect(isReplay(await create('labels', { labels: labels[1], mem_mib: 128, vcpus: 1, image: 'python' }))).toBe(
      'true',
    )
  })

  test('of another account is a call of its own', async () => {
    await scene.connected()
    const other = await newTenant()
    const [mine, theirs] = [await recordOf(await create()), await recordOf(await create('once', small, other.key))]
    expect(mine.id).not.toBe(theirs.id)
  })

  test.each([[''], ['x'.repeat(256)], ['tab\there'], ['é']])('with the key %j is refused', async (key) => {
    expect(await read(await create(key))).toMatchObject({ status: 400, code: 'invalid_request' })
  })

  test('does not keep what the body held', async () => {
    await scene.connected()
    await create('once', { ...small, env: { TOKEN: 'a-secret-of-the-caller' } })
    const rows = await runInDurableObject(stub(), (_object, { storage }) =>
      storage.sql.exec('SELECT * FROM idempotency').toArray(),
    )
    expect(rows).toHaveLength(1)
    expect(JSON.stringify(rows)).not.toContain('a-secret-of-the-caller')
  })
})

describe('twins', () => {
  test('make one sandbox: while the first is under way the other is told so', async () => {
    const runner = await scene.connected()
    const twins = await Promise.all(Array.from({ length: 8 }, () => create()))
    const made = twins.filter(({ status }) => status === 201)
    expect(made.length).toBeGreaterThan(0)
    const ids = new Set(await Promise.all(made.map(async (one) => (await recordOf(one)).id)))
    expect(ids.size).toBe(1)
    for (const pending of twins.filter(({ status }) => status !== 201)) {
      expect(pending.headers.get('retry-after')).toBe('1')
      expect(await read(pending)).toMatchObject({ status: 409, code: 'idempotency_pending', retryable: true })
    }
    expect(runner.count('sandbox.create')).toBe(1)
    expect(ids.has((await recordOf(await create())).id)).toBe(true)
  })

  test('of which the first takes too long end as one', async () => {
    let finish: () => void = () => undefined
    const runner = await scene.connected({
      'sandbox.create': (asked, stream) => {
        finish = () => {
          answerCall(stream, { resolved_image: asked.spec.image, create_ms: 7 })
          stream.end()
        }
      },
    })
    const heard = runner.next('sandbox.create')
    const first = create()
    await heard
    expect((await create()).status).toBe(409)
    await unanswered(pendingMs)
    // One of two repetitions goes on with the call, whichever comes first; the other is told so at once.
    const repeated = [create(), create()]
    expect((await Promise.race(repeated)).status).toBe(409)
    finish()
    const [second, ...others] = (await Promise.all(repeated)).filter(({ status }) => status !== 409)
    expect(others).toEqual([])
    expect((await recordOf(await first)).id).toBe((await recordOf(second as Response)).id)
    expect(runner.count('sandbox.create')).toBe(1)
  })
})

describe('a call whose caller went away', () => {
  test('goes on with the same ids at once when the sandbox is there', async () => {
    const runner = await scene.connected()
    const made = await recordOf(await create())
    await unanswered()
    expect(await recordOf(await create())).toEqual(made)
    expect(isReplay(await create())).toBe('true')
    expect(runner.count('sandbox.create')).toBe(1)
  })

  test('makes the sandbox under the same id where nothing had been made', async () => {
    const runner = await scene.connected()
    const { id } = await recordOf(await create('other'))
    await runInDurableObject(stub(), (_object, { storage }) => {
      const [row] = storage.sql.exec<{ fingerprint: string }>('SELECT fingerprint FROM idempotency').toArray()
      const ids = JSON.stringify([`run${'q'.repeat(25)}a`])
      storage.sql.exec(
        'INSERT INTO idempotency VALUES (?, ?, ?, ?, NULL, NULL)',
        'once',
        row?.fingerprint ?? '',
        ids,
        0,
      )
      storage.sql.exec('UPDATE idempotency SET since = ? WHERE since = 0', Date.now() - pendingMs)
    })
    const made = await recordOf(await create())
    expect(made.id).toBe(`run${'q'.repeat(25)}a`)
    expect(made.id).not.toBe(id)
    expect(runner.count('sandbox.create')).toBe(2)
  })

  test('makes forks, snapshots and restores once, too', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    const forked = async () => (await (await send(`/${id}/fork`, 'fork', { count: 3 })).json()) as ForkResponse
    const snapped = async () => (await (await send(`/${id}/snapshot`, 'snap')).json()) as SnapshotResponse
    const [forks, snap] = [await forked(), await snapped()]
    const restored = async () => recordOf(await send('/restore', 'restore', { snapshot_id: snap.snapshot_id }))
    const back = await restored()
    expect([await forked(), await snapped(), await restored()]).toEqual([forks, snap, back])
    await unanswered()
    expect((await forked()).forks).toEqual(forks.forks)
    expect([await snapped(), await restored()]).toEqual([snap, back])
    const counts = (['sandbox.fork', 'sandbox.snapshot', 'sandbox.restore'] as const).map((op) => runner.count(op))
    expect(counts).toEqual([1, 1, 1])
  })
})

describe('what is kept', () => {
  const many = 'x'.repeat(1000)
  const call = (key: string) => ({ key, fingerprint: 'a', ids: [key] })
  const keysOf = ({ sql }: DurableObjectStorage) =>
    sql.exec<{ key: string }>('SELECT key FROM idempotency ORDER BY since').toArray()
  /** The size of all rows, added up. */
  const sizeOf = ({ sql }: DurableObjectStorage) =>
    sql
      .exec<{ bytes: number }>(
        `SELECT COALESCE(SUM(200 + octet_length(key) + octet_length(ids) + COALESCE(octet_length(body), 0)), 0) AS bytes
         FROM idempotency`,
      )
      .one().bytes

  test('is bounded: the oldest answers make room, and never a call that is under way', async () => {
    await runInDurableObject(stub(), (_object, { storage }) => {
      const table = new IdempotencyTable(storage.sql)
      const begin = (key: string, now: number) => beginOnce(table, call(key), now, 20_000)
      for (let at = 0; at < 5; at++) begin(`open-${at}`, at)
      for (let at = 10; at < 400; at++) {
        begin(`done-${at}`, at)
        table.end(`done-${at}`, 201, many, at)
        expect(table.bytes()).toBeLessThanOrEqual(20_000 + 2 * many.length)
      }
      expect(table.bytes()).toBe(sizeOf(storage))
      const kept = keysOf(storage).map(({ key }) => key)
      expect(kept.slice(0, 5)).toEqual(['open-0', 'open-1', 'open-2', 'open-3', 'open-4'])
      expect(begin('done-399', 400)).toEqual({ kind: 'done', status: 201, body: many })
      expect(begin('done-10', 401)).toEqual({ kind: 'first', ids: ['done-10'] })
      for (let at = 500; at < 700; at++) begin(`open-${at}`, at)
      expect(keysOf(storage)).toHaveLength(206)
    })
  })

  test('goes after its time, some at a time, and a call of that age is a first one in any case', async () => {
    await runInDurableObject(stub(), (_object, { storage }) => {
      const table = new IdempotencyTable(storage.sql)
      for (let at = 0; at < 250; at++) beginOnce(table, call(`old-${at}`), at)
      expect(beginOnce(table, call('old-249'), 249 + answerKeptMs)).toMatchObject({ kind: 'first' })
      expect(keysOf(storage)).toHaveLength(150)
      beginOnce(table, call('new'), 250 + answerKeptMs)
      beginOnce(table, call('new-too'), 250 + answerKeptMs)
      expect(keysOf(storage).map(({ key }) => key)).toEqual(['old-249', 'new', 'new-too'])
      expect(table.bytes()).toBe(sizeOf(storage))
    })
  })
})

describe('a call that failed', () => {
  test('may be mended: its repetition is a first call', async () => {
    expect((await create()).status).toBe(503)
    const runner = await scene.connected()
    const mended = await create()
    expect([mended.status, isReplay(mended)]).toEqual([201, null])
    expect(runner.count('sandbox.create')).toBe(1)
  })

  test('for good is answered the same again, without asking anybody', async () => {
    const error = { code: 'image_unknown', message: 'cannot create the sandbox: no such image' } as const
    const runner = await scene.connected({ 'sandbox.create': refusing(error) })
    const first = await create()
    const body = await read(first)
    expect(body).toMatchObject({ status: 400, code: 'image_unknown' })
    const second = await create()
    expect([second.status, isReplay(second)]).toEqual([400, 'true'])
    const { status: _status, ...same } = body
    expect(await second.json()).toEqual(same)
    expect(runner.count('sandbox.create')).toBe(1)
  })

  test('by what is on record takes up nothing: the next one looks again', async () => {
    await scene.connected()
    const { id } = await recordOf(await create('made'))
    await answer(`/v1/runs/${id}/hibernate`, { method: 'POST', key: scene.tenant.key })
    for (let turn = 0; turn < 2; turn++) {
      const refused = await send(`/${id}/snapshot`, 'asleep')
      expect([isReplay(refused), await read(refused)]).toMatchObject([null, { code: 'sandbox_hibernated' }])
    }
    expect((await send('/restore', 'gone', { snapshot_id: 'none' })).status).toBe(404)
    const rows = await runInDurableObject(stub(), (_object, { storage }) =>
      storage.sql.exec('SELECT key FROM idempotency').toArray(),
    )
    expect(rows).toEqual([{ key: 'made' }])
    await answer(`/v1/runs/${id}/resume`, { method: 'POST', key: scene.tenant.key })
    expect((await send(`/${id}/snapshot`, 'asleep')).status).toBe(201)
  })

  test('of which the interrupted sandbox was undone is mended by a new one', async () => {
    const runner = await scene.connected({ 'sandbox.create': () => undefined })
    const heard = runner.next('sandbox.create')
    const first = create()
    const { sandbox } = await heard
    await abortAllDurableObjects()
    runner.cut()
    expect((await first).status).toBeGreaterThanOrEqual(500)
    const back = await scene.back()
    await back.report()
    expect(await read(await create())).toMatchObject({ status: 503, code: 'boot_failed', retryable: true })
    await expect.poll(() => back.count('sandbox.destroy')).toBe(1)
    const mended = await create()
    expect(mended.status).toBe(201)
    expect((await recordOf(mended)).id).not.toBe(sandbox)
  })
})

type Step =
  | { readonly kind: 'begin'; readonly fingerprint: 'a' | 'b' }
  | { readonly kind: 'end' | 'forget' | 'suspend' | 'made' }
  | { readonly kind: 'wait'; readonly ms: number }

const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('begin' as const), fingerprint: fc.constantFrom('a' as const, 'b' as const) }),
    fc.record({ kind: fc.constantFrom('end' as const, 'forget' as const, 'suspend' as const, 'made' as const) }),
    fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(1000, pendingMs, answerKeptMs / 2, answerKeptMs),
    }),
  ),
  { minLength: 4, maxLength: 30 },
)

/** What is expected of one key, said without a table. */
class Expected {
  fingerprint: string | undefined
  ids: readonly string[] = []
  since = 0
  answered = false
  made = false

  begin(fingerprint: string, ids: readonly string[], now: number): string {
    if (this.fingerprint !== undefined && this.since <= now - answerKeptMs) this.forget(true)
    if (this.fingerprint === undefined) {
      Object.assign(this, { fingerprint, ids, since: now, answered: false, made: false })
      return `first ${ids[0]}`
    }
    if (this.fingerprint !== fingerprint) return 'idempotency_mismatch'
    if (this.answered) return `done 201 ${this.ids[0]}`
    if (now - this.since < pendingMs && !this.made) return 'idempotency_pending'
    this.since = now
    return `again ${this.ids[0]}`
  }

  forget(also = false): void {
    if (also || !this.answered) this.fingerprint = undefined
  }
}

describe('any sequence of calls with one key', () => {
  test('first call, repetitions, answers, failures and time keep to the rules', async () => {
    await runInDurableObject(stub(), (_object, { storage }) => {
      const table = new IdempotencyTable(storage.sql)
      fc.assert(
        fc.property(steps, (plan) => storage.transactionSync(() => follow(storage, table, plan))),
        { numRuns: 150 },
      )
    })
  })
})

function follow(storage: DurableObjectStorage, table: IdempotencyTable, plan: readonly Step[]): void {
  for (const name of ['idempotency', 'snapshots']) storage.sql.exec(`DELETE FROM ${name}`)
  const expected = new Expected()
  let now = 1_700_000_000_000
  plan.forEach((step, at) => {
    const { ids, since } = expected
    const isOpen = expected.fingerprint !== undefined && !expected.answered && since > now - answerKeptMs
    if (step.kind === 'wait') now += step.ms
    else if (step.kind === 'begin') {
      expect(begun(table, step.fingerprint, [`snap-${at}`], now)).toBe(
        expected.begin(step.fingerprint, [`snap-${at}`], now),
      )
    } else if (isOpen && step.kind === 'end') {
      table.end('key', 201, String(ids[0]), now)
      Object.assign(expected, { answered: true, since: now })
    } else if (isOpen && step.kind === 'suspend') {
      suspendOnce(table, 'key', now)
      expected.since = now - pendingMs
    } else if (isOpen && step.kind === 'made') {
      const columns = 'id, region, run, runner, size_bytes, created_at, resolved_image, spec'
      storage.sql.exec(`INSERT OR IGNORE INTO snapshots (${columns}) VALUES (?, '', '', '', 1, 0, '', '')`, ids[0])
      expected.made = true
    } else if (step.kind === 'forget') {
      table.forget('key')
      expected.forget()
    }
  })
}

function begun(table: IdempotencyTable, fingerprint: string, ids: readonly string[], now: number): string {
  try {
    const how = beginOnce(table, { key: 'key', fingerprint, ids }, now)
    return how.kind === 'done' ? `done ${how.status} ${how.body}` : `${how.kind} ${how.ids[0]}`
  } catch (thrown) {
    return AppError.from(thrown).code
  }
}
