/** A runner that goes away, and what its sandboxes' owners see of it, through the API. */

import { abortAllDurableObjects, evictAllDurableObjects } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { SandboxState } from '@portico/shared/lifecycle'
import { answer as answerStream } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { objectsOf } from '../src/durable/objects.ts'
import { adminKey, answer, ask, read } from './client.ts'
import { done } from './guest-scene.ts'
import { alarmsOf, awayForLong, RunnerScene } from './runner-scene.ts'
import { guestAnswers, newSession, type Script, ScriptedRunner, someUsage } from './scripted-runner.ts'

const awake: Script = { 'guest.request': (_call, stream) => guestAnswers(stream, 200, done) }
const scene = new RunnerScene(awake)
const exec = async (id: string) => {
  const response = await ask(`/v1/runs/${id}/exec`, { key: scene.tenant.key, json: { command: 'true' } })
  return new Response(await response.text(), response)
}
const holding = (...all: [id: string, state: SandboxState, generation?: number][]) => ({
  sandboxes: all.map(([sandbox, state, generation = 1]) => ({ sandbox, generation, state })),
})

describe('a runner that goes away', () => {
  test('leaves its sandboxes as they are for a while, then they are unreachable, and with its first status they are back', async () => {
    const runner = await scene.connected()
    const [awakeOne, asleep] = [await scene.created(), await scene.created()]
    await scene.post(`${asleep.id}/hibernate`)
    runner.cut()
    await expect.poll(async () => (await read(await exec(awakeOne.id))).code).toBe('runner_disconnected')
    await alarmsOf(runner.id)
    expect(await scene.record(awakeOne.id)).toMatchObject({ status: 'running' })
    await awayForLong(runner.id)
    for (const { id } of [awakeOne, asleep]) expect(await scene.record(id)).toMatchObject({ status: 'unreachable' })
    const used = await answer(`/v1/runs/${asleep.id}/usage`, { key: scene.tenant.key })
    expect(used).toMatchObject(someUsage)
    expect(await read(await scene.post(`${awakeOne.id}/hibernate`))).toMatchObject({
      status: 503,
      code: 'sandbox_unreachable',
      retryable: true,
    })
    const back = await scene.back()
    expect(await scene.record(awakeOne.id)).toMatchObject({ status: 'unreachable' })
    await back.report(holding([awakeOne.id, 'running'], [asleep.id, 'hibernated']))
    expect(await scene.record(awakeOne.id)).toMatchObject({ status: 'running' })
    expect(await scene.record(asleep.id)).toMatchObject({ status: 'hibernated' })
    expect((await exec(awakeOne.id)).status).toBe(200)
    expect(back.count('sandbox.destroy')).toBe(0)
  })

  test('and says nothing when it comes back, is away still', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    runner.cut()
    const silent = await scene.back()
    silent.cut()
    await awayForLong(runner.id)
    expect(await scene.record(id)).toMatchObject({ status: 'unreachable' })
  })

  test('together with the front door is noticed when that is back', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    await abortAllDurableObjects()
    await alarmsOf(runner.id)
    await awayForLong(runner.id)
    expect(await scene.record(id)).toMatchObject({ status: 'unreachable' })
  })

  test('has all of its sandboxes told although the objects are evicted in the middle', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    runner.cut()
    await expect.poll(() => objectsOf(env).runner(runner.id).tunnel()).toBeNull()
    await evictAllDurableObjects()
    await awayForLong(runner.id)
    await evictAllDurableObjects()
    expect(await scene.record(id)).toMatchObject({ status: 'unreachable' })
    const back = await scene.back()
    await evictAllDurableObjects()
    await back.report(holding([id, 'running']))
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
  })
})

describe('a runner that returns', () => {
  test('without a sandbox that it had: that is an error', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    runner.cut()
    await awayForLong(runner.id)
    await (await scene.back()).report()
    expect(await scene.record(id)).toMatchObject({ status: 'error', reason: 'lost by its runner' })
  })

  test('with a sandbox that was destroyed meanwhile: destroys it, with its last usage', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    runner.cut()
    await awayForLong(runner.id)
    const refused = await read(await ask(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key }))
    expect(refused).toMatchObject({ status: 503, retryable: true })
    const back = await scene.back()
    const destroyed = back.next('sandbox.destroy')
    await back.report(holding([id, 'running']))
    expect(await destroyed).toEqual({ op: 'sandbox.destroy', sandbox: id, generation: 1 })
    const gone = async () => (await ask(`/v1/runs/${id}`, { key: scene.tenant.key })).status
    await expect.poll(gone).toBe(404)
  })

  test('with another generation of a sandbox: destroys what it has, and the one on record is lost', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    runner.cut()
    await awayForLong(runner.id)
    const back = await scene.back()
    await back.report(holding([id, 'running', 7]))
    expect(back.calls).toContainEqual({ op: 'sandbox.destroy', sandbox: id, generation: 7 })
    expect(back.count('sandbox.destroy')).toBe(1)
    expect(await scene.record(id)).toMatchObject({ status: 'error' })
  })

  test('with a sandbox that nobody ever made: destroys it', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    const stranger = `${id.slice(0, -26)}${newSession().slice(0, 25)}a`
    await runner.report(holding([id, 'running'], [stranger, 'hibernated']))
    expect(runner.calls.at(-1)).toEqual({ op: 'sandbox.destroy', sandbox: stranger, generation: 1 })
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
  })
})

test('a status that was held up, and so lacks a sandbox that was made since, loses nothing', async () => {
  const runner = await scene.connected({
    'sandbox.stats': (_call, stream) => answerStream(stream, { usage: someUsage }),
  })
  const { id } = await scene.created()
  await runner.report()
  expect(await scene.record(id)).toMatchObject({ status: 'running' })
  const broken = await scene.back({ 'sandbox.stats': () => broken.cut() })
  void broken.report().catch(() => undefined)
  await expect.poll(() => broken.count('sandbox.stats')).toBe(1)
  expect(await scene.record(id)).toMatchObject({ status: 'running' })
})

describe('a runner with several sockets', () => {
  const both = async (script: Script = {}) => {
    const session = newSession()
    const first = await ScriptedRunner.connect(scene.enrolled, { ...awake, ...script }, { session, socket: '0/2' })
    const second = await ScriptedRunner.connect(scene.enrolled, { ...awake, ...script }, { session, socket: '1/2' })
    return [first, second] as const
  }

  test('shares its streams between them, and goes on with one when the other is cut', async () => {
    const release = Promise.withResolvers<void>()
    const [first, second] = await both({
      'guest.request': async (_call, stream) => {
        await release.promise
        guestAnswers(stream, 200, done)
      },
    })
    await second.report()
    const { id } = await scene.created()
    const pending = Array.from({ length: 150 }, () => exec(id))
    await expect.poll(() => first.count('guest.request') + second.count('guest.request')).toBe(150)
    const counts = { cut: first.count('guest.request'), kept: second.count('guest.request') }
    expect(Math.min(counts.cut, counts.kept)).toBeGreaterThan(0)
    expect(await answer(`/admin/runners/${first.id}`, { key: adminKey })).toMatchObject({ sockets: 2, generation: 2 })
    first.cut()
    release.resolve()
    const statuses = (await Promise.all(pending)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(counts.kept)
    expect(statuses.filter((status) => status === 503)).toHaveLength(counts.cut)
    expect((await exec(id)).status).toBe(200)
    await second.report(holding([id, 'running']))
    expect(await answer(`/admin/runners/${first.id}`, { key: adminKey })).toMatchObject({ connected: true, sockets: 1 })
  })

  test('goes on with all of them after a sleep', async () => {
    const [first, second] = await both()
    await first.report()
    const { id } = await scene.created()
    await evictAllDurableObjects()
    for (let turn = 0; turn < 4; turn++) expect((await exec(id)).status).toBe(200)
    await second.report(holding([id, 'running']))
    expect(await answer(`/admin/runners/${first.id}`, { key: adminKey })).toMatchObject({ connected: true, sockets: 2 })
  })

  test('of the first generation is one socket, and works', async () => {
    const runner = await ScriptedRunner.connect(scene.enrolled, awake, null)
    await runner.report()
    const { id } = await scene.created()
    expect((await exec(id)).status).toBe(200)
    expect(await answer(`/admin/runners/${runner.id}`, { key: adminKey })).toMatchObject({ sockets: 1, generation: 1 })
    expect(await answer(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })).toMatchObject(someUsage)
  })
})
