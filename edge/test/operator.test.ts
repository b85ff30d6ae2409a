/** What an operator does with a runner: look at it, empty it, fill it again, remove it, give it up. */

import { evictAllDurableObjects } from 'cloudflare:test'
import { newRunnerId } from '@portico/shared/ids'
import { describe, expect, test } from 'vitest'
import type { RunnerInfo } from '../src/ports.ts'
import { adminKey, answer, ask, read, refusal } from './client.ts'
import { alarmsOf, awayForLong, RunnerScene } from './runner-scene.ts'
import { enrol, refusing, type ScriptedRunner, someUsage } from './scripted-runner.ts'

const scene = new RunnerScene()
const look = (id: string) => answer<RunnerInfo>(`/admin/runners/${id}`, { key: adminKey })
const order = (id: string, what: 'drain' | 'undrain', json?: object) =>
  answer<RunnerInfo>(`/admin/runners/${id}/${what}`, { method: 'POST', key: adminKey, ...(json && { json }) })
const remove = (id: string, lost = false) =>
  ask(`/admin/runners/${id}${lost ? '?lost=true' : ''}`, { method: 'DELETE', key: adminKey })
const dial = (runner: { token: string }) =>
  ask('/v1/runner/tunnel', { key: runner.token, headers: { upgrade: 'websocket' } })
const creating = () => ask('/v1/runs', { key: scene.tenant.key, json: { image: 'python', mem_mib: 512 } })

/** A report that lists what the runner was given, all of it running. */
async function reportAll(runner: ScriptedRunner, ...ids: string[]): Promise<void> {
  await runner.report({ sandboxes: ids.map((sandbox) => ({ sandbox, generation: 1, state: 'running' })) })
}

describe('a runner', () => {
  test('is shown with what it last said, and one that never dialled with nothing', async () => {
    const runner = await scene.connected()
    await runner.report({ warm: { python: 2 }, load: 0.5, free_vcpus: 7 })
    expect(await look(runner.id)).toMatchObject({
      id: runner.id,
      region: 'local',
      connected: true,
      draining: false,
      drain: null,
      generation: 2,
      sockets: 1,
      free_vcpus: 7,
      total_mem_mib: 16_384,
      load: 0.5,
      warm: { python: 2 },
    })
    const { id } = await enrol('eu')
    expect(await look(id)).toMatchObject({ id, region: 'eu', connected: false, generation: null, seen_at: null })
  })

  test('that nobody enrolled is not found, whatever is asked of it', async () => {
    const admin = { key: adminKey }
    for (const id of [newRunnerId(), 'runner-1'])
      for (const [method, path] of [
        ['GET', ''],
        ['POST', '/drain'],
        ['POST', '/undrain'],
        ['DELETE', '?lost=true'],
      ] as const) {
        const refused = await refusal(`/admin/runners/${id}${path}`, { ...admin, method })
        expect(refused, `${method} ${path}`).toMatchObject({ status: 404, code: 'not_found' })
      }
  })

  test('is not shown to, or touched by, anybody but the operator', async () => {
    const { id, token } = scene.enrolled
    for (const key of [scene.tenant.key, token])
      for (const [method, path] of [
        ['GET', ''],
        ['POST', '/drain'],
        ['POST', '/undrain'],
        ['DELETE', ''],
      ] as const)
        expect((await ask(`/admin/runners/${id}${path}`, { key, method })).status).toBe(401)
  })
})

describe('a drain', () => {
  test('by waiting sends nothing new there and touches nothing, until it is taken back', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    const draining = await order(runner.id, 'drain')
    expect(draining).toMatchObject({
      draining: true,
      drain: { mode: 'wait', running: 1, hibernated: 0, done: false },
    })
    expect(await read(await creating())).toMatchObject({ status: 503, code: 'no_runner' })
    await alarmsOf(runner.id)
    expect(runner.count('sandbox.hibernate')).toBe(0)
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
    expect(await read(await scene.post(`${id}/fork`))).toMatchObject({ status: 429, code: 'capacity' })
    await ask(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
    expect((await look(runner.id)).drain).toEqual({ mode: 'wait', running: 0, hibernated: 0, done: true })
    expect(await order(runner.id, 'undrain')).toMatchObject({ draining: false, drain: null })
    expect((await creating()).status).toBe(201)
  })

  test('by hibernating puts all to sleep, also if the objects are evicted under way, and loses none', async () => {
    const runner = await scene.connected()
    const ids: string[] = []
    for (let made = 0; made < 6; made++) ids.push((await scene.created()).id)
    await reportAll(runner, ...ids)
    expect(await order(runner.id, 'drain', { mode: 'hibernate' })).toMatchObject({ drain: { mode: 'hibernate' } })
    await evictAllDurableObjects()
    await alarmsOf(runner.id)
    await expect
      .poll(async () => (await look(runner.id)).drain)
      .toEqual({ mode: 'hibernate', running: 0, hibernated: 6, done: true })
    for (const id of ids) expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
    expect(runner.count('sandbox.hibernate')).toBe(6)
    await order(runner.id, 'undrain')
    expect((await scene.post(`${ids[0]}/resume`)).status).toBe(200)
  })

  test('goes on past a sandbox that cannot sleep, and says that it is not done', async () => {
    const stuck = new Set<string>()
    const runner = await scene.connected()
    const [first, second] = [await scene.created(), await scene.created()]
    stuck.add(first.id)
    runner.cut()
    const back = await scene.back({
      'sandbox.hibernate': (call, stream) => {
        if (stuck.has(call.sandbox)) refusing({ code: 'no_space', message: 'cannot hibernate: full' })(call, stream)
        else back.behave(call, stream)
      },
    })
    await reportAll(back, first.id, second.id)
    await order(runner.id, 'drain', { mode: 'hibernate' })
    await alarmsOf(runner.id)
    const state = { mode: 'hibernate', running: 1, hibernated: 1, done: false }
    await expect.poll(async () => (await look(runner.id)).drain).toEqual(state)
    expect(await scene.record(first.id)).toMatchObject({ status: 'running' })
  })
})

describe('a removal', () => {
  test('of a runner that has nothing ends its tunnel and its token at once', async () => {
    const runner = await scene.connected()
    const closed = new Promise<CloseEvent>((resolve) => runner.socket.addEventListener('close', resolve))
    expect(await (await remove(runner.id)).json()).toEqual({ id: runner.id, status: 'removed', lost_sandboxes: 0 })
    await closed
    expect(await read(await dial(runner))).toMatchObject({ status: 401, code: 'unauthorized' })
    expect(await read(await remove(runner.id))).toMatchObject({ status: 404 })
    await evictAllDurableObjects()
    expect(await read(await dial(runner))).toMatchObject({ status: 401 })
    expect(await read(await creating())).toMatchObject({ code: 'no_runner' })
  })

  test('of one that was never connected is possible', async () => {
    expect((await remove(scene.enrolled.id)).status).toBe(200)
    expect(await read(await dial(scene.enrolled))).toMatchObject({ status: 401 })
  })

  test('of one that has sandboxes is refused and changes nothing, unless they are given up', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    await scene.post(`${id}/hibernate`)
    expect(await read(await remove(runner.id))).toMatchObject({ status: 409, code: 'conflict' })
    expect(await look(runner.id)).toMatchObject({ connected: true, draining: false })
    expect((await scene.post(`${id}/resume`)).status).toBe(200)
    expect((await creating()).status).toBe(201)
  })

  test('of one that is emptied, but not of what sleeps there, is refused and leaves it emptied', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    await scene.post(`${id}/hibernate`)
    await order(runner.id, 'drain', { mode: 'hibernate' })
    expect(await read(await remove(runner.id))).toMatchObject({ status: 409 })
    expect(await look(runner.id)).toMatchObject({ drain: { mode: 'hibernate', hibernated: 1 } })
  })

  test('of one whose sandbox broke needs nothing more, and that can be destroyed later', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    await runner.tell({ op: 'sandbox.event', sandbox: id, generation: 1, state: 'error', reason: 'it broke' })
    await runner.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'error' }] })
    expect((await remove(runner.id)).status).toBe(200)
    expect(await scene.record(id)).toMatchObject({ status: 'error', reason: 'it broke' })
    const destroyed = await ask(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
    expect(destroyed.status).toBe(200)
  })
})

describe('a runner that never returns', () => {
  test('is given up: its sandboxes are lost with what they used, though the objects are evicted, and a destroy tells it', async () => {
    const runner = await scene.connected()
    const [awake, asleep] = [await scene.created(), await scene.created()]
    await scene.post(`${asleep.id}/hibernate`)
    runner.cut()
    await awayForLong(runner.id)
    expect(await (await remove(runner.id, true)).json()).toMatchObject({ status: 'removed', lost_sandboxes: 2 })
    await evictAllDurableObjects()
    await alarmsOf(runner.id)
    for (const { id } of [awake, asleep]) {
      await expect.poll(() => scene.record(id)).toMatchObject({ status: 'lost', reason: 'its runner was given up' })
      const refused = await read(await scene.post(`${id}/hibernate`))
      expect(refused).toMatchObject({ status: 410, code: 'sandbox_lost', retryable: false })
    }
    expect(await answer(`/v1/runs/${asleep.id}/usage`, { key: scene.tenant.key })).toMatchObject(someUsage)
    const ended = await answer(`/v1/runs/${asleep.id}`, { method: 'DELETE', key: scene.tenant.key })
    expect(ended).toMatchObject({ ...someUsage })
    expect(await read(await dial(runner))).toMatchObject({ status: 401 })
  })

  test('is given up while it is connected: nothing it still says counts', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    expect((await remove(runner.id, true)).status).toBe(200)
    await alarmsOf(runner.id)
    await expect.poll(() => scene.record(id)).toMatchObject({ status: 'lost' })
    expect(runner.count('sandbox.destroy')).toBe(0)
  })

  test('and a sandbox that was being destroyed there is destroyed', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    runner.cut()
    await awayForLong(runner.id)
    expect((await ask(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })).status).toBe(503)
    await remove(runner.id, true)
    await alarmsOf(runner.id)
    const gone = async () => (await ask(`/v1/runs/${id}`, { key: scene.tenant.key })).status
    await expect.poll(gone).toBe(404)
  })
})
