/** Forks through the API, against runners that speak the real protocol. */

import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { type ForkResponse, forkResponse } from '@portico/shared/api'
import { answer as accept } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { answer, ask, read } from './client.ts'
import { alarmOf, RunnerScene } from './runner-scene.ts'
import { forkAnswer, refusing } from './scripted-runner.ts'

const scene = new RunnerScene()
const fork = (id: string, count: number) => scene.post(`${id}/fork`, { count })

describe('a fork', () => {
  test('makes sandboxes of their own, with what their parent was asked to be', async () => {
    const runner = await scene.connected()
    const parent = await scene.created({ timeout: 77, auto_resume: true, on_idle: 'hibernate' })
    const response = await fork(parent.id, 3)
    expect(response.status).toBe(201)
    const made = forkResponse.parse(await response.json())
    expect(made).toMatchObject({ failed: [], pause_ms: 12 })
    expect(made.forks).toHaveLength(3)
    expect(new Set([parent.id, ...made.forks.map(({ id }) => id)]).size).toBe(4)
    for (const child of made.forks) {
      const { id: _id, created_at: _at, create_ms: _ms, url_template: _url, ...same } = parent
      expect(child).toMatchObject({ ...same, create_ms: 5, status: 'running', forked_from: parent.id })
      expect(await answer(`/v1/runs/${child.id}`, { key: scene.tenant.key })).toEqual(child)
    }
    expect((await scene.listed()).map(({ id }) => id).sort()).toEqual(
      [parent.id, ...made.forks.map(({ id }) => id)].sort(),
    )
    const children = made.forks.map(({ id }) => ({ sandbox: id, generation: 1 }))
    expect(runner.calls.slice(1)).toEqual([{ op: 'sandbox.fork', sandbox: parent.id, generation: 1, children }])
  })

  test('without a body or a count makes one', async () => {
    await scene.connected()
    const { id } = await scene.created()
    for (const response of [await scene.post(`${id}/fork`), await scene.post(`${id}/fork`, {})])
      expect(((await response.json()) as ForkResponse).forks).toHaveLength(1)
  })

  test.each([{ count: 0 }, { count: 65 }, { count: 'two' }])('of %j is refused', async (json) => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    expect(await read(await scene.post(`${id}/fork`, json))).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(runner.count('sandbox.fork')).toBe(0)
  })

  test('in which one child fails keeps the others, and of that one nothing stays', async () => {
    const runner = await scene.connected({
      'sandbox.fork': ({ children }, stream) => {
        const { children: made, ...rest } = forkAnswer(children)
        const error = { code: 'boot_failed', message: 'cannot fork: the guest did not answer' }
        accept(stream, { ...rest, children: made.map((one, at) => (at === 1 ? { sandbox: one.sandbox, error } : one)) })
        stream.end()
      },
    })
    const parent = await scene.created()
    const made = (await (await fork(parent.id, 3)).json()) as ForkResponse
    expect(made.forks).toHaveLength(2)
    expect(made.failed).toEqual([{ code: 'boot_failed', error: 'cannot fork: the guest did not answer' }])
    expect(await scene.listed()).toHaveLength(3)
    expect(runner.count('sandbox.destroy')).toBe(0)
  })

  test('of which the runner leaves a child out destroys what may be left of it', async () => {
    const runner = await scene.connected({
      'sandbox.fork': ({ children }, stream) => {
        accept(stream, forkAnswer(children.slice(1)))
        stream.end()
      },
    })
    const parent = await scene.created()
    const destroyed = runner.next('sandbox.destroy')
    const made = (await (await fork(parent.id, 2)).json()) as ForkResponse
    expect(made.failed).toMatchObject([{ code: 'protocol_error' }])
    expect(await destroyed).toMatchObject({ generation: 1 })
    expect(made.forks.map(({ id }) => id)).not.toContain((await destroyed).sandbox)
  })

  test('that the runner refuses tells its reason and leaves nothing', async () => {
    await scene.connected({ 'sandbox.fork': refusing({ code: 'no_space', message: 'cannot fork: the disk is full' }) })
    const { id } = await scene.created()
    expect(await read(await fork(id, 2))).toMatchObject({ status: 507, error: 'cannot fork: the disk is full' })
    expect(await scene.listed()).toMatchObject([{ id }])
  })

  test('of which every child fails is the error of the first', async () => {
    await scene.connected({
      'sandbox.fork': ({ children }, stream) => {
        const failed = children.map(({ sandbox }, at) => {
          return { sandbox, error: { code: 'capacity', message: `cannot fork: number ${at}` } }
        })
        accept(stream, { ...forkAnswer([]), children: failed })
        stream.end()
      },
    })
    const { id } = await scene.created()
    expect(await read(await fork(id, 2))).toMatchObject({ status: 429, error: 'cannot fork: number 0' })
    expect(await scene.listed()).toMatchObject([{ id }])
  })

  test('makes as many children as there is room for on the runner, and asks it for no more', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    const sandboxes = [{ sandbox: id, generation: 1, state: 'running' as const }]
    await runner.report({ sandboxes, free_slots: 2 })
    const made = (await (await fork(id, 3)).json()) as ForkResponse
    expect(made.forks).toHaveLength(2)
    expect(made.failed).toMatchObject([{ code: 'capacity' }])
    expect(await read(await fork(id, 1))).toMatchObject({ status: 429, code: 'capacity' })
    expect(runner.count('sandbox.fork')).toBe(1)
  })

  test('while the runner is away is refused at once and leaves nothing', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    runner.cut()
    const refused = await read(await fork(id, 2))
    expect(refused).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    expect(await scene.listed()).toMatchObject([{ id }])
  })

  test('whose tunnel breaks in the middle is asked for again, and no child that the runner has made meanwhile is taken from it', async () => {
    const runner = await scene.connected({ 'sandbox.fork': () => undefined })
    const { id } = await scene.created()
    const call = runner.next('sandbox.fork')
    const pending = fork(id, 2)
    const { children } = await call
    runner.cut()
    const back = await scene.back()
    const sandboxes = [{ sandbox: id, generation: 1 }, ...children].map((one) => ({
      ...one,
      state: 'running' as const,
    }))
    await back.report({ sandboxes })
    const made = (await (await pending).json()) as ForkResponse
    expect(made.forks.map((child) => child.id)).toEqual(children.map(({ sandbox }) => sandbox))
    expect(back.calls).toEqual([{ op: 'sandbox.fork', sandbox: id, generation: 1, children }])
  })

  test('whose runner does not come back is an error, and what it may have made is destroyed when it does', async () => {
    const runner = await scene.connected({ 'sandbox.fork': () => undefined })
    const { id } = await scene.created()
    const call = runner.next('sandbox.fork')
    const pending = fork(id, 1)
    const { children } = await call
    runner.cut()
    expect(await read(await pending)).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    expect(await scene.listed()).toMatchObject([{ id }])
    const child = children[0]?.sandbox ?? ''
    const back = await scene.back()
    await back.report({ sandboxes: [id, child].map((one) => ({ sandbox: one, generation: 1, state: 'running' })) })
    await alarmOf(child)
    expect(back.calls).toContainEqual({ op: 'sandbox.destroy', sandbox: child, generation: 1 })
    expect(back.calls).not.toContainEqual({ op: 'sandbox.destroy', sandbox: id, generation: 1 })
  })

  test('that lost its memory in the middle is ended by the alarm of each child', async () => {
    const runner = await scene.connected({ 'sandbox.fork': () => undefined })
    const { id } = await scene.created()
    const call = runner.next('sandbox.fork')
    const pending = fork(id, 1)
    const { children } = await call
    const child = children[0]?.sandbox ?? ''
    const object = env.SANDBOXES.get(env.SANDBOXES.idFromName(child))
    expect(await runInDurableObject(object, (_object, { storage }) => storage.getAlarm())).toBeGreaterThan(Date.now())
    await abortAllDurableObjects()
    expect((await read(await pending)).status).toBeGreaterThanOrEqual(500)
    runner.cut()
    const back = await scene.back()
    await back.report({ sandboxes: [id, child].map((one) => ({ sandbox: one, generation: 1, state: 'running' })) })
    expect(back.calls).toEqual([])
    await alarmOf(child)
    expect(back.calls).toEqual([{ op: 'sandbox.destroy', sandbox: child, generation: 1 }])
    expect(await scene.listed()).toMatchObject([{ id }])
  })

  test('a child that its owner destroyed on the way is destroyed on the runner, too', async () => {
    const finish = Promise.withResolvers<void>()
    const runner = await scene.connected({
      'sandbox.fork': async ({ children }, stream) => {
        await finish.promise
        accept(stream, forkAnswer(children))
        stream.end()
      },
    })
    const { id } = await scene.created()
    const call = runner.next('sandbox.fork')
    const pending = fork(id, 2)
    const { children } = await call
    const child = children[0]?.sandbox ?? ''
    expect((await ask(`/v1/runs/${child}`, { method: 'DELETE', key: scene.tenant.key })).status).toBe(200)
    const again = runner.next('sandbox.destroy')
    finish.resolve()
    const made = (await (await pending).json()) as ForkResponse
    expect([made.forks.length, made.failed]).toMatchObject([1, [{ code: 'conflict' }]])
    expect(await again).toMatchObject({ sandbox: child, generation: 1 })
  })
})
