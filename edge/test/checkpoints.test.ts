/** Checkpoints of a sandbox through the API, against runners that speak the real protocol. */

import {
  type CheckpointCreated,
  type CheckpointList,
  checkpointCreated,
  checkpointList,
  checkpointRestored,
} from '@portico/shared/api'
import { answer as accept } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { humanSize } from '../src/routes/checkpoints.ts'
import { answer, ask, newTenant, read } from './client.ts'
import { RunnerScene } from './runner-scene.ts'
import { ScriptedGuest } from './scripted-guest.ts'
import { checkpointSize, refusing } from './scripted-runner.ts'
import { View } from './viewing.ts'

const scene = new RunnerScene()
const at = (id: string, path = '') => `/v1/runs/${id}/checkpoints${path}`
const create = (id: string, json: object = {}, headers = {}) => ask(at(id), { key: scene.tenant.key, json, headers })
const post = (id: string, path: string, json?: object, key = scene.tenant.key) =>
  ask(at(id, path), { method: 'POST', key, ...(json === undefined ? {} : { json }) })
const restore = (id: string, checkpoint: string) => post(id, `/${checkpoint}/restore`)
const remove = (id: string, checkpoint: string) =>
  ask(at(id, `/${checkpoint}`), { method: 'DELETE', key: scene.tenant.key })
const some = `cp${'a'.repeat(26)}`

/** What the audit log says of checkpoints. */
async function noted(id: string): Promise<{ event: string; data: unknown }[]> {
  const { body } = await ask(`/v1/runs/${id}/audit`, { key: scene.tenant.key })
  const lines = (await new Response(body).text()).trim().split('\n')
  const all = lines.map((line) => JSON.parse(line) as { event: string; data: unknown })
  return all.filter(({ event }) => event.startsWith('checkpoint.')).map(({ event, data }) => ({ event, data }))
}

describe('a checkpoint', () => {
  test('is created, waited for, restored and deleted, and each is noted', async () => {
    const runner = await scene.connected({
      'checkpoint.restore': (_call, stream) => {
        accept(stream, { restore_ms: 300, started: ['db'], stopped: ['web'], failed: ['bad'] })
        stream.end()
      },
    })
    const { id } = await scene.created()
    const response = await create(id, { name: 'after-setup' })
    expect(response.status).toBe(201)
    const made = checkpointCreated.parse(await response.json())
    expect(made).toMatchObject({ name: 'after-setup', size_bytes: checkpointSize, pause_ms: 2, ready: false })
    const { checkpoint_id: checkpoint, created_at } = made
    expect(runner.calls.at(-1)).toEqual({
      ...{ op: 'checkpoint.create', sandbox: id, generation: 1, checkpoint, name: 'after-setup' },
      ...{ created_at, wait: false },
    })
    const waited = await post(id, '/wait', { checkpoint_id: checkpoint })
    expect(await waited.json()).toEqual({ ok: true, checkpoint_id: checkpoint, size_bytes: checkpointSize })
    const restored = checkpointRestored.parse(await (await restore(id, checkpoint)).json())
    expect(restored).toEqual({
      ok: true,
      checkpoint_id: checkpoint,
      restore_duration_ms: 300,
      started_services: ['db'],
      stopped_services: ['web'],
      failed_services: ['bad'],
    })
    expect(await (await remove(id, checkpoint)).json()).toEqual({ ok: true, deleted: true })
    expect(runner.calls.slice(-3)).toEqual(
      ['wait', 'restore', 'delete'].map((op) => ({ op: `checkpoint.${op}`, sandbox: id, generation: 1, checkpoint })),
    )
    expect(await noted(id)).toEqual([
      { event: 'checkpoint.created', data: { checkpoint, name: 'after-setup' } },
      { event: 'checkpoint.restored', data: { checkpoint, started: ['db'], stopped: ['web'], failed: ['bad'] } },
      { event: 'checkpoint.deleted', data: { checkpoint } },
    ])
    expect((await scene.record(id)).status).toBe('running')
  })

  test('is listed as its runner tells it, with a size that people read', async () => {
    const one = { id: some, name: 'n', created_at: '2026-01-02T03:04:05Z', size_bytes: 12_345_678, ready: true }
    await scene.connected({
      'checkpoint.list': (_call, stream) => {
        accept(stream, { checkpoints: [one] })
        stream.end()
      },
    })
    const { id } = await scene.created()
    const listed = checkpointList.parse(await answer(at(id), { key: scene.tenant.key }))
    expect(listed).toEqual({ checkpoints: [{ ...one, size_human: '12.3 MB' }] } satisfies CheckpointList)
  })

  test('whose tunnel breaks in the middle is asked for again under the same id', async () => {
    const runner = await scene.connected({ 'checkpoint.create': () => undefined })
    const { id } = await scene.created()
    const call = runner.next('checkpoint.create')
    const pending = create(id, { name: 'x' })
    const asked = await call
    runner.cut()
    const back = await scene.back()
    await back.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'running' }] })
    const made = (await (await pending).json()) as CheckpointCreated
    expect(made.checkpoint_id).toBe(asked.checkpoint)
    expect(back.calls).toEqual([asked])
    expect(await noted(id)).toHaveLength(1)
  })

  test('is made once for an Idempotency-Key', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    const key = { 'idempotency-key': 'once' }
    const first = await (await create(id, {}, key)).json()
    expect(await (await create(id, {}, key)).json()).toEqual(first)
    expect(runner.count('checkpoint.create')).toBe(1)
  })

  test.each([
    ['checkpoint_not_found', 404],
    ['snapshot_damaged', 500],
    ['sandbox_busy', 409],
  ] as const)('whose restore the runner refuses with %s tells so, and notes nothing', async (code, status) => {
    await scene.connected({ 'checkpoint.restore': refusing({ code, message: 'cannot restore: a reason' }) })
    const { id } = await scene.created()
    const refused = await restore(id, some)
    expect(refused.headers.get('retry-after')).toBe(code === 'sandbox_busy' ? '1' : null)
    expect(await read(refused)).toMatchObject({ status, code, error: 'cannot restore: a reason' })
    expect(await noted(id)).toEqual([])
  })

  test('with an id that cannot be one is not there, and nobody is asked', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    const before = runner.calls.length
    for (const response of [
      await restore(id, 'nonsense'),
      await remove(id, 'cp1'),
      await post(id, '/wait', { checkpoint_id: `snap${'a'.repeat(26)}` }),
    ])
      expect(await read(response)).toMatchObject({ status: 404, code: 'checkpoint_not_found' })
    expect(runner.calls.length).toBe(before)
  })

  test('of a name that is too long is refused', async () => {
    await scene.connected()
    const { id } = await scene.created()
    expect(await read(await create(id, { name: 'x'.repeat(129) }))).toMatchObject({ code: 'invalid_request' })
    expect((await ask(at(id), { method: 'POST', key: scene.tenant.key })).status).toBe(201)
  })

  test("is nothing to somebody else's key", async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    const { key } = await newTenant()
    const before = runner.calls.length
    expect(await read(await post(id, `/${some}/restore`, undefined, key))).toMatchObject({ code: 'sandbox_not_found' })
    expect(runner.calls.length).toBe(before)
  })
})

describe('a restore', () => {
  test('whose tunnel breaks waits until the runner is no longer at it', async () => {
    const runner = await scene.connected({ 'checkpoint.restore': () => undefined })
    const { id } = await scene.created()
    const call = runner.next('checkpoint.restore')
    const pending = restore(id, some)
    await call
    runner.cut()
    let busy = 2
    const back = await scene.back({
      'checkpoint.restore': (asked, stream) => {
        if (busy-- > 0)
          return refusing({ code: 'sandbox_busy', message: 'cannot use it: a restore is under way' })(asked, stream)
        back.behave(asked, stream)
      },
    })
    await back.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'running' }] })
    expect((await pending).status).toBe(200)
    expect(back.count('checkpoint.restore')).toBe(3)
  })
})

describe('a console of a sandbox whose checkpoint is restored', () => {
  test('tells its viewers that its process is gone, as soon as it can know', async () => {
    const guest = new ScriptedGuest()
    let isBusy = false
    await scene.connected({
      'guest.request': (call, stream) => {
        if (isBusy) return refusing({ code: 'sandbox_busy', message: 'cannot use the sandbox: busy' })(call, stream)
        return guest.serve(call, stream)
      },
      'checkpoint.restore': async (_call, stream) => {
        isBusy = true
        guest.process.cut()
        guest.processes.clear()
        await reconnecting
        isBusy = false
        accept(stream, { restore_ms: 1, started: [], stopped: [], failed: [] })
        stream.end()
      },
    })
    const { id } = await scene.created()
    const key = scene.tenant.key
    const made = await answer<{ id: string }>(`/v1/runs/${id}/consoles`, { key, json: {} })
    const view = await View.open(`/v1/runs/${id}/consoles/${made.id}/attach`, key)
    await view.event('live')
    const reconnecting = view.event('link')
    expect((await restore(id, some)).status).toBe(200)
    expect(await view.event('error')).toMatchObject({ code: 'not_found' })
    await expect.poll(() => view.closed?.code).toBe(1001)
    expect(await answer(`/v1/runs/${id}/consoles/${made.id}`, { key })).toMatchObject({ state: 'lost' })
  })
})

describe('a sandbox that sleeps', () => {
  test('can be asked for its checkpoints, which can be waited for and deleted, but not for a new one or a restore', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    await scene.post(`${id}/hibernate`)
    const before = runner.count('checkpoint.create') + runner.count('checkpoint.restore')
    for (const refused of [await create(id), await restore(id, some)])
      expect(await read(refused)).toMatchObject({ status: 409, code: 'sandbox_hibernated' })
    expect(runner.count('checkpoint.create') + runner.count('checkpoint.restore')).toBe(before)
    expect(await answer(at(id), { key: scene.tenant.key })).toEqual({ checkpoints: [] })
    expect((await post(id, '/wait', { checkpoint_id: some })).status).toBe(200)
    expect((await remove(id, some)).status).toBe(200)
  })

  test('with auto_resume is handed to its runner, which wakes it', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created({ auto_resume: true })
    await scene.post(`${id}/hibernate`)
    expect((await create(id)).status).toBe(201)
    expect((await restore(id, some)).status).toBe(200)
    expect(runner.count('checkpoint.restore')).toBe(1)
  })
})

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [999_949, '999.9 kB'],
  [999_950, '1.0 MB'],
  [12_345_678, '12.3 MB'],
  [5_000_000_000, '5.0 GB'],
  [7e15, '7000.0 TB'],
])('%d bytes read as %s', (bytes, text) => {
  expect(humanSize(bytes)).toBe(text)
})
