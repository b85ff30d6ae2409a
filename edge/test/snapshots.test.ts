/** Snapshots and restores through the API, against runners that speak the real protocol. */

import { evictAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import {
  type RunRecord,
  runRecord,
  type SnapshotList,
  type SnapshotResponse,
  snapshotResponse,
} from '@portico/shared/api'
import { describe, expect, test } from 'vitest'
import { adminKey, answer, ask, newTenant, read, refusal } from './client.ts'
import { alarmOf, RunnerScene } from './runner-scene.ts'
import { refusing, ScriptedRunner, snapshotSize } from './scripted-runner.ts'

const scene = new RunnerScene()
const snapshotted = async (id: string) => (await (await scene.post(`${id}/snapshot`)).json()) as SnapshotResponse
const snapshots = async (key = scene.tenant.key) => (await answer<SnapshotList>('/v1/snapshots', { key })).snapshots
const restore = (json: object) => scene.post('restore', json)
const remove = (id: string, key = scene.tenant.key) => ask(`/v1/snapshots/${id}`, { method: 'DELETE', key })

describe('a snapshot', () => {
  test('is taken, listed newest first, restored more than once after its source is gone, and deleted', async () => {
    const runner = await scene.connected()
    const source = await scene.created({ timeout: 77, disk_mib: 100 })
    const response = await scene.post(`${source.id}/snapshot`)
    expect(response.status).toBe(201)
    const first = snapshotResponse.parse(await response.json())
    expect(first).toMatchObject({ run_id: source.id, size_bytes: snapshotSize })
    const second = await snapshotted(source.id)
    await ask(`/v1/runs/${source.id}`, { method: 'DELETE', key: scene.tenant.key })
    const entry = ({ snapshot_id, ...rest }: SnapshotResponse) => ({ id: snapshot_id, ...rest })
    expect(await snapshots()).toEqual([entry(second), entry(first)])
    for (let turn = 0; turn < 2; turn++) {
      const restored = await restore({ snapshot_id: first.snapshot_id })
      expect(restored.status).toBe(201)
      const made = runRecord.parse(await restored.json())
      const { id: _id, created_at: _at, url_template: _url, ...same } = source
      expect(made).toMatchObject({ ...same, restored_from: first.snapshot_id })
      expect(made.id).not.toBe(source.id)
      expect(made.url_template).toContain(made.id)
      expect(await answer(`/v1/runs/${made.id}`, { key: scene.tenant.key })).toEqual(made)
    }
    expect(await (await remove(first.snapshot_id)).json()).toEqual({ id: first.snapshot_id, status: 'deleted' })
    expect(await snapshots()).toEqual([entry(second)])
    expect(runner.calls.at(-1)).toEqual({ op: 'snapshot.delete', snapshot: first.snapshot_id })
    expect(await read(await remove(first.snapshot_id))).toMatchObject({ status: 404, code: 'snapshot_not_found' })
    const late = await read(await restore({ snapshot_id: first.snapshot_id }))
    expect(late).toMatchObject({ status: 404, code: 'snapshot_not_found' })
  })

  test('that the runner refuses leaves nothing', async () => {
    await scene.connected({ 'sandbox.snapshot': refusing({ code: 'no_space', message: 'cannot snapshot: full' }) })
    const { id } = await scene.created()
    expect(await read(await scene.post(`${id}/snapshot`))).toMatchObject({
      status: 507,
      error: 'cannot snapshot: full',
    })
    expect(await snapshots()).toEqual([])
    expect(await sweep()).toBe(0)
  })

  test('whose tunnel breaks in the middle is asked for again under the same id', async () => {
    const runner = await scene.connected({ 'sandbox.snapshot': () => undefined })
    const { id } = await scene.created()
    const call = runner.next('sandbox.snapshot')
    const pending = snapshotted(id)
    const { snapshot } = await call
    runner.cut()
    const back = await scene.back()
    await back.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'running' }] })
    expect(await pending).toMatchObject({ snapshot_id: snapshot, size_bytes: snapshotSize })
    expect(await snapshots()).toMatchObject([{ id: snapshot }])
  })

  test('of which nobody knows how it ended is not shown, and removed from the runner later', async () => {
    const runner = await scene.connected({
      'sandbox.snapshot': refusing({ code: 'no_space', message: 'never seen' }),
    })
    const { id } = await scene.created()
    await scene.post(`${id}/snapshot`)
    const dead = await scene.back({ 'sandbox.snapshot': () => undefined })
    await dead.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'running' }] })
    const call = dead.next('sandbox.snapshot')
    const pending = scene.post(`${id}/snapshot`)
    const { snapshot } = await call
    dead.cut()
    runner.cut()
    expect(await read(await pending)).toMatchObject({ status: 503, code: 'runner_disconnected' })
    expect(await snapshots()).toEqual([])
    expect(await sweep()).toBe(1)
    const back = await scene.back()
    expect(await sweep()).toBe(0)
    expect(back.calls).toEqual([{ op: 'snapshot.delete', snapshot }])
  })

  /** Lets the account look after what is pending as if it were old; how much is left of it. */
  async function sweep(): Promise<number> {
    const account = env.ACCOUNTS.get(env.ACCOUNTS.idFromName(scene.tenant.account))
    await runInDurableObject(account, (_object, { storage }) => {
      storage.sql.exec('UPDATE snapshots SET created_at = created_at - 3600000 WHERE size_bytes IS NULL')
    })
    await runDurableObjectAlarm(account)
    return runInDurableObject(account, (_object, { storage }) => {
      return storage.sql.exec('SELECT id FROM snapshots WHERE size_bytes IS NULL').toArray().length
    })
  }

  test('survives the loss of memory of everybody', async () => {
    await scene.connected()
    const { snapshot_id } = await snapshotted((await scene.created()).id)
    await evictAllDurableObjects()
    expect(await snapshots()).toMatchObject([{ id: snapshot_id }])
    expect((await restore({ snapshot_id })).status).toBe(201)
  })

  test('of somebody else, of another region, or of nobody is not there', async () => {
    const runner = await scene.connected()
    const { snapshot_id } = await snapshotted((await scene.created()).id)
    const { key: abroad } = await answer<{ key: string }>(`/admin/accounts/${scene.tenant.account}/keys`, {
      key: adminKey,
      json: { region: 'eu' },
    })
    const before = runner.calls.length
    for (const key of [(await newTenant()).key, abroad]) {
      expect(await snapshots(key)).toEqual([])
      for (const id of [snapshot_id, `snap${'a'.repeat(26)}`, 'nonsense']) {
        const restored = await refusal('/v1/runs/restore', { key, json: { snapshot_id: id } })
        expect(restored).toMatchObject({ status: 404, code: 'snapshot_not_found' })
        expect(await read(await remove(id, key))).toMatchObject({ status: 404, code: 'snapshot_not_found' })
      }
    }
    expect(runner.calls.length).toBe(before)
    expect(await snapshots()).toHaveLength(1)
  })

  test('whose runner is away is neither deleted nor restored, and kept', async () => {
    const runner = await scene.connected()
    const { snapshot_id } = await snapshotted((await scene.created()).id)
    await ScriptedRunner.start()
    runner.cut()
    for (const response of [await remove(snapshot_id), await restore({ snapshot_id })])
      expect(await read(response)).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    expect(await snapshots()).toMatchObject([{ id: snapshot_id }])
    expect(await scene.listed()).toHaveLength(1)
  })

  test('that the runner will not delete is kept; one that it no longer has is forgotten', async () => {
    let code: 'internal' | 'snapshot_not_found' = 'internal'
    await scene.connected({
      'snapshot.delete': (call, stream) => refusing({ code, message: 'cannot delete it' })(call, stream),
    })
    const { snapshot_id } = await snapshotted((await scene.created()).id)
    expect(await read(await remove(snapshot_id))).toMatchObject({ status: 500 })
    expect(await snapshots()).toHaveLength(1)
    code = 'snapshot_not_found'
    expect((await remove(snapshot_id)).status).toBe(200)
    expect(await snapshots()).toEqual([])
  })
})

describe('a restore', () => {
  test('asks the runner that has the snapshot, with what is given instead of what was saved', async () => {
    const runner = await scene.connected()
    const { snapshot_id } = await snapshotted((await scene.created({ timeout: 77, disk_mib: 100 })).id)
    const other = await ScriptedRunner.start()
    await other.report({ free_mem_mib: 65_536 })
    const changes = { timeout: 5, env: { A: '1' }, auto_resume: true, on_idle: 'hibernate' }
    const made = (await (await restore({ snapshot_id, ...changes })).json()) as RunRecord
    expect(made).toMatchObject({ timeout: 5, auto_resume: true, on_idle: 'hibernate', mem_mib: 512, disk_mib: 100 })
    expect(runner.calls.at(-1)).toEqual({
      op: 'sandbox.restore',
      sandbox: made.id,
      generation: 1,
      snapshot: snapshot_id,
      spec: {
        image: 'python',
        vcpus: 1,
        mem_mib: 512,
        disk_mib: 100,
        idle_timeout: 5,
        auto_resume: true,
        on_idle: 'hibernate',
        env: { A: '1' },
      },
    })
    expect(other.calls).toEqual([])
    expect(JSON.stringify(made)).not.toContain('"A"')
  })

  test.each([
    ['snapshot_damaged', 500],
    ['snapshot_incompatible', 409],
    ['capacity', 429],
  ] as const)('that the runner fails with %s tells why and leaves nothing', async (code, status) => {
    await scene.connected({ 'sandbox.restore': refusing({ code, message: 'cannot restore: a reason' }) })
    const { id } = await scene.created()
    const { snapshot_id } = await snapshotted(id)
    expect(await read(await restore({ snapshot_id }))).toMatchObject({
      status,
      code,
      error: 'cannot restore: a reason',
    })
    expect(await scene.listed()).toMatchObject([{ id }])
  })

  test('on a runner without room is refused before that is asked', async () => {
    const runner = await scene.connected()
    const { snapshot_id } = await snapshotted((await scene.created()).id)
    await runner.report({ free_slots: 0 })
    expect(await read(await restore({ snapshot_id }))).toMatchObject({ status: 429, code: 'capacity' })
    expect(runner.count('sandbox.restore')).toBe(0)
  })

  test('of which nobody knows how it ended is destroyed when the runner is back', async () => {
    const runner = await scene.connected({ 'sandbox.restore': () => undefined })
    const { snapshot_id } = await snapshotted((await scene.created()).id)
    const call = runner.next('sandbox.restore')
    const pending = restore({ snapshot_id })
    const { sandbox, generation } = await call
    runner.cut()
    expect(await read(await pending)).toMatchObject({ status: 503, code: 'runner_disconnected' })
    const back = await scene.back()
    await alarmOf(sandbox)
    expect(back.calls).toContainEqual({ op: 'sandbox.destroy', sandbox, generation })
  })

  test.each([{}, { snapshot_id: 7 }, { snapshot_id: '' }])('of %j is refused', async (json) => {
    expect(await read(await restore(json))).toMatchObject({ status: 400, code: 'invalid_request' })
  })
})
