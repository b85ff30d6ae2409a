/** Hibernation through the API, against runners that speak the real protocol. */

import { abortAllDurableObjects, evictAllDurableObjects } from 'cloudflare:test'
import type { SandboxState } from '@portico/shared/lifecycle'
import { answer as accept } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { answer, ask, read, refusal } from './client.ts'
import { done } from './guest-scene.ts'
import { alarmOf, RunnerScene } from './runner-scene.ts'
import { guestAnswers, refusing, type Script, type ScriptedRunner, someUsage } from './scripted-runner.ts'

const awake: Script = { 'guest.request': (_call, stream) => guestAnswers(stream, 200, done) }
const scene = new RunnerScene(awake)
const hibernate = (id: string) => scene.post(`${id}/hibernate`)
const resume = (id: string) => scene.post(`${id}/resume`)
/** The whole answer: one that nobody reads would keep the runner's object awake. */
async function exec(id: string): Promise<Response> {
  const response = await ask(`/v1/runs/${id}/exec`, { key: scene.tenant.key, json: { command: 'true' } })
  return new Response(await response.text(), response)
}
const usage = (id: string) => ask(`/v1/runs/${id}/usage`, { key: scene.tenant.key })
const reported = (id: string, state: SandboxState) => ({ sandboxes: [{ sandbox: id, generation: 1, state }] })

describe('a sandbox', () => {
  test('sleeps, is not used meanwhile, and wakes under the same id', async () => {
    const runner = await scene.connected()
    const made = await scene.created()
    const asleep = await hibernate(made.id)
    expect(asleep.status).toBe(200)
    expect(await asleep.json()).toEqual({ ...made, status: 'hibernated' })
    expect(await scene.record(made.id)).toMatchObject({ status: 'hibernated' })
    expect(await scene.listed()).toMatchObject([{ id: made.id, status: 'hibernated' }])
    const refused = await read(await exec(made.id))
    expect(refused).toMatchObject({ status: 409, code: 'sandbox_hibernated', retryable: false })
    expect(refused.hint).toContain('auto_resume: true')
    expect(runner.count('guest.request')).toBe(0)
    expect(await (await resume(made.id)).json()).toEqual(made)
    expect((await exec(made.id)).status).toBe(200)
  })

  test('that sleeps is not forked or saved', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    await hibernate(id)
    for (const response of [await scene.post(`${id}/fork`), await scene.post(`${id}/snapshot`)])
      expect(await read(response)).toMatchObject({ status: 409, code: 'sandbox_hibernated' })
    expect(runner.count('sandbox.fork') + runner.count('sandbox.snapshot')).toBe(0)
  })

  test('that sleeps and wakes by itself is forked and saved by its runner, which wakes it', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created({ auto_resume: true })
    await hibernate(id)
    for (const response of [await scene.post(`${id}/fork`), await scene.post(`${id}/snapshot`)])
      expect(response.status).toBe(201)
    expect([runner.count('sandbox.fork'), runner.count('sandbox.snapshot')]).toEqual([1, 1])
  })

  test('takes a hibernation and a resume twice', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    for (const _turn of [1, 2]) expect((await hibernate(id)).status).toBe(200)
    for (const _turn of [1, 2]) expect((await resume(id)).status).toBe(200)
    expect([runner.count('sandbox.hibernate'), runner.count('sandbox.resume')]).toEqual([1, 1])
  })

  test('that sleeps can be given another timeout and destroyed', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    await hibernate(id)
    const changed = await answer(`/v1/runs/${id}`, { method: 'PATCH', key: scene.tenant.key, json: { timeout: 9 } })
    expect(changed).toMatchObject({ status: 'hibernated', timeout: 9 })
    const ended = await answer(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
    expect(ended).toMatchObject({ status: 'destroyed', ...someUsage })
    expect(runner.calls.at(-1)).toMatchObject({ op: 'sandbox.destroy', sandbox: id })
  })

  test('with auto_resume lets any use through to the runner, which wakes it', async () => {
    const runner: ScriptedRunner = await scene.connected({
      'guest.request': async (call, stream) => {
        await runner.tell({ op: 'sandbox.event', sandbox: call.sandbox, generation: 1, state: 'running' })
        guestAnswers(stream, 200, done)
      },
    })
    const { id } = await scene.created({ auto_resume: true })
    await hibernate(id)
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated', auto_resume: true })
    expect((await exec(id)).status).toBe(200)
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
  })

  test('that fell asleep unknown to its route is refused by the runner, and that is believed', async () => {
    let isAsleep = false
    await scene.connected({
      'guest.request': (call, stream) => {
        if (!isAsleep) return guestAnswers(stream, 200, done)
        return refusing({ code: 'sandbox_hibernated', message: 'cannot use the sandbox: it is hibernated' })(
          call,
          stream,
        )
      },
    })
    const { id } = await scene.created()
    expect((await exec(id)).status).toBe(200)
    isAsleep = true
    expect(await read(await exec(id))).toMatchObject({ status: 409, code: 'sandbox_hibernated' })
  })
})

describe('a hibernation', () => {
  test('that the runner fails leaves it running and tells why', async () => {
    await scene.connected({
      'sandbox.hibernate': refusing({ code: 'no_space', message: 'cannot hibernate: the disk is full' }),
    })
    const { id } = await scene.created()
    expect(await read(await hibernate(id))).toMatchObject({ status: 507, error: 'cannot hibernate: the disk is full' })
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
    expect((await exec(id)).status).toBe(200)
  })

  test('while the runner is away is refused as retryable and changes nothing', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    runner.cut()
    expect(await read(await hibernate(id))).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
  })

  test('whose tunnel breaks in the middle is answered once the runner is back', async () => {
    const runner = await scene.connected({ 'sandbox.hibernate': () => undefined })
    const { id } = await scene.created()
    const call = runner.next('sandbox.hibernate')
    const pending = hibernate(id)
    await call
    expect(await scene.record(id)).toMatchObject({ status: 'hibernating' })
    runner.cut()
    const back = await scene.back()
    await back.report(reported(id, 'hibernated'))
    expect(await (await pending).json()).toMatchObject({ id, status: 'hibernated' })
  })

  test.each(['hibernated', 'running'] as const)(
    'interrupted at the edge is as its runner reports: %s',
    async (state) => {
      const runner = await scene.connected({ 'sandbox.hibernate': () => undefined })
      const { id } = await scene.created()
      const call = runner.next('sandbox.hibernate')
      const pending = hibernate(id)
      await call
      await abortAllDurableObjects()
      expect((await read(await pending)).status).toBeGreaterThanOrEqual(500)
      runner.cut()
      expect(await scene.record(id)).toMatchObject({ status: 'hibernating' })
      const back = await scene.back()
      await back.report(reported(id, state))
      expect(await scene.record(id)).toMatchObject({ status: state })
      expect(back.calls).toEqual([])
    },
  )

  test('interrupted at the edge is asked for again by its alarm if no status comes first', async () => {
    const runner = await scene.connected({ 'sandbox.hibernate': () => undefined })
    const { id } = await scene.created()
    const call = runner.next('sandbox.hibernate')
    const pending = hibernate(id)
    await call
    await abortAllDurableObjects()
    await pending
    runner.cut()
    const back = await scene.back()
    await alarmOf(id)
    expect(back.calls).toEqual([{ op: 'sandbox.hibernate', sandbox: id, generation: 1 }])
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
  })

  test('is not undone by a status from before it', async () => {
    const runner: ScriptedRunner = await scene.connected({
      'sandbox.hibernate': async (_call, stream) => {
        await runner.report(reported(id, 'running'))
        accept(stream, { usage: someUsage })
        stream.end()
      },
    })
    const { id } = await scene.created()
    await hibernate(id)
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
    await runner.report(reported(id, 'hibernated'))
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
  })
})

describe('a resume', () => {
  test.each([
    ['capacity', 429],
    ['snapshot_damaged', 500],
    ['snapshot_incompatible', 409],
  ] as const)('that the runner fails with %s leaves it asleep and tells why', async (code, status) => {
    await scene.connected({ 'sandbox.resume': refusing({ code, message: 'cannot resume: a reason' }) })
    const { id } = await scene.created()
    await hibernate(id)
    expect(await read(await resume(id))).toMatchObject({ status, code, error: 'cannot resume: a reason' })
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
  })

  test('while the runner is away is refused as retryable, and works when it is back', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    await hibernate(id)
    runner.cut()
    expect(await read(await resume(id))).toMatchObject({ status: 503, retryable: true })
    const back = await scene.back()
    await back.report({ session: 'session-2', ...reported(id, 'hibernated') })
    expect((await resume(id)).status).toBe(200)
    expect(back.calls).toEqual([{ op: 'sandbox.resume', sandbox: id, generation: 1 }])
  })
})

describe('what a runner tells', () => {
  test('puts a sandbox to sleep that was idle, and wakes it', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created({ on_idle: 'hibernate' })
    const event = { op: 'sandbox.event', sandbox: id, generation: 1 }
    await runner.tell({ ...event, state: 'hibernating' })
    expect(await scene.record(id)).toMatchObject({ status: 'hibernating' })
    await runner.tell({ ...event, state: 'hibernated', usage: someUsage })
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
    await runner.tell({ ...event, state: 'running' })
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
    await runner.tell({ ...event, generation: 2, state: 'hibernated' })
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
  })

  test('of a sandbox that could not be saved lets it run on', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created({ on_idle: 'hibernate' })
    const event = { op: 'sandbox.event', sandbox: id, generation: 1 }
    await runner.tell({ ...event, state: 'hibernating' })
    await runner.tell({ ...event, state: 'running', reason: 'no space left' })
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
    expect((await exec(id)).status).toBe(200)
  })

  test('with its status alone is enough, if the news of it was lost', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created({ on_idle: 'hibernate' })
    await runner.report(reported(id, 'hibernated'))
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
    await runner.report(reported(id, 'running'))
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
    await runner.report(reported(id, 'error'))
    expect(await scene.record(id)).toMatchObject({ status: 'error' })
  })

  test('after it was away, restarted, and everybody forgot what was in memory, keeps what sleeps there', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    await hibernate(id)
    await evictAllDurableObjects()
    runner.cut()
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
    const back = await scene.back()
    await back.report({ session: 'session-2', ...reported(id, 'hibernated') })
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
    expect(back.count('sandbox.destroy')).toBe(0)
    expect((await resume(id)).status).toBe(200)
    expect((await exec(id)).status).toBe(200)
  })
})

describe('the usage of a sandbox', () => {
  test('is what its runner measures, and what that costs', async () => {
    await scene.connected()
    const { id } = await scene.created()
    expect(await (await usage(id)).json()).toEqual({ ...someUsage, cost_cents: 3.25 })
  })

  test('while the runner is away is unknown, unless it sleeps: then nothing was added', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    runner.cut()
    expect(await read(await usage(id))).toMatchObject({ status: 503, code: 'runner_disconnected' })
    const back = await scene.back()
    await back.report(reported(id, 'running'))
    await hibernate(id)
    back.cut()
    expect(await (await usage(id)).json()).toEqual({ ...someUsage, cost_cents: 3.25 })
  })

  test('of a sandbox that broke is what was last told; of one that is destroyed there is none', async () => {
    const runner = await scene.connected()
    const { id } = await scene.created()
    const event = { op: 'sandbox.event', sandbox: id, generation: 1 }
    await runner.tell({ ...event, state: 'error', reason: 'gone', usage: { ...someUsage, cpu_ms: 3 } })
    expect(await (await usage(id)).json()).toMatchObject({ cpu_ms: 3 })
    await ask(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
    expect(await refusal(`/v1/runs/${id}/usage`, { key: scene.tenant.key })).toMatchObject({ status: 404 })
  })
})
