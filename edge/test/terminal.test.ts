/** Terminals on a WebSocket: bytes both ways, a session that lingers, and what a second socket on it gets. */

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { refusal } from './client.ts'
import { RunnerScene } from './runner-scene.ts'
import { ScriptedGuest } from './scripted-guest.ts'
import type { ScriptedRunner } from './scripted-runner.ts'
import { View } from './viewing.ts'

const scene = new RunnerScene()
let guest: ScriptedGuest
let runner: ScriptedRunner
let run: string

beforeEach(async () => {
  guest = new ScriptedGuest()
  runner = await scene.connected({ 'guest.request': guest.serve })
  run = (await scene.created()).id
})
afterEach(() => {
  for (const process of guest.processes.values()) process.end(0)
})

const open = (query = '') => View.open(`/v1/runs/${run}/terminal${query}`, scene.tenant.key)
const stub = (id: unknown) => env.CONSOLES.get(env.CONSOLES.idFromName(String(id)))
const later = (ms: number) => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })

describe('a terminal', () => {
  test('passes bytes both ways, has the size that was asked for, and ends with its program', async () => {
    const view = await open('?cols=132&rows=43&command=htop&cwd=/app&user=dev')
    expect(guest.started[0]).toMatchObject({
      path: '/processes',
      asked: { shell: 'htop', cwd: '/app', user: 'dev', tty: { cols: 132, rows: 43 } },
    })
    expect(await view.event('session')).toMatchObject({ id: expect.stringMatching(/^con/), offset: 0 })
    const { process } = guest
    view.type('q')
    process.print('quit?')
    view.say({ type: 'resize', cols: 80, rows: 25 })
    await view.shows('quit?')
    await expect.poll(() => process.input).toBe('q')
    await expect.poll(() => process.sizes.at(-1)).toEqual({ cols: 80, rows: 25 })
    process.end(4)
    expect(await view.event('exit')).toEqual({ type: 'exit', exit_code: 4 })
    await expect.poll(() => view.closed?.code).toBe(1000)
    expect(view.order.at(0)).toBe('session')
    expect(view.order.at(-1)).toBe('exit')
    await expect.poll(() => process.removed).toBe(true)
  })

  test('is found again by its session, from where the socket stood or from an offset', async () => {
    const first = await open()
    const { id } = await first.event('session')
    guest.process.print('seen ')
    await first.shows('seen ')
    first.leave()
    await expect.poll(() => first.closed).toBeDefined()
    guest.process.print('missed')
    const second = await open(`?session=${id}`)
    expect(await second.event('session')).toEqual({ type: 'session', id, offset: 5 })
    await second.shows('missed')
    const third = await open(`?session=${id}&from=2`)
    await third.shows('en missed')
    third.type('x')
    await expect.poll(() => guest.process.input).toBe('x')
    expect(guest.started).toHaveLength(1)
  })

  test('lives on without a socket for as long as was asked, and no longer', async () => {
    const view = await open('?linger=20')
    const { id } = await view.event('session')
    const { process } = guest
    view.leave()
    const leftAt = () =>
      runInDurableObject(
        stub(id),
        (_object, { storage }) => storage.kv.get<{ leftAt: number | null }>('console')?.leftAt,
      )
    await expect.poll(leftAt).toBeTypeOf('number')
    try {
      later(19_000)
      await runDurableObjectAlarm(stub(id))
      expect(process.removed).toBe(false)
      later(2_000)
      await runDurableObjectAlarm(stub(id))
      expect(process.removed).toBe(true)
    } finally {
      vi.useRealTimers()
    }
    const again = await open(`?session=${id}`)
    expect(await again.event('exit')).toMatchObject({ exit_code: 137 })
  })

  test('goes on over a cut and an eviction in the middle of it', async () => {
    const view = await open()
    const { id } = await view.event('session')
    guest.process.print('one ')
    await view.shows('one ')
    runner.cut()
    await expect.poll(() => guest.process.followers).toBe(0)
    await evictDurableObject(stub(id))
    guest.process.print('two')
    const back = await scene.back({ 'guest.request': guest.serve })
    await back.report({ sandboxes: [{ sandbox: run, generation: 1, state: 'running' }] as never })
    view.type('x')
    await view.shows('one two')
    await expect.poll(() => guest.process.input).toBe('x')
  })

  test('is refused where it cannot be', async () => {
    const path = `/v1/runs/${run}/terminal`
    const ask = { key: scene.tenant.key, headers: { upgrade: 'websocket' } }
    expect(await refusal(path, { key: scene.tenant.key })).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(await refusal(`${path}?cols=0`, ask)).toMatchObject({ status: 400 })
    expect(await refusal(`${path}?linger=x`, ask)).toMatchObject({ status: 400 })
    expect(await refusal(`${path}?session=nothing`, ask)).toMatchObject({ status: 404, code: 'not_found' })
    const shell = await View.open(`/v1/runs/${run}/shell`, scene.tenant.key)
    const { id } = await shell.event('session')
    expect(await refusal(`${path}?session=${id}`, ask)).toMatchObject({ status: 404, code: 'not_found' })
    const other = (await scene.created()).id
    expect(await refusal(`/v1/runs/${other}/shell?session=${id}`, ask)).toMatchObject({ status: 404 })
    shell.leave()
  })
})
