/** An account's images through the API: pulled and built, and sandboxes of them, against runners that speak the real protocol. */

import { evictAllDurableObjects, runDurableObjectAlarm } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { type ImageList, imageRecord } from '@portico/shared/api'
import type { RunnerPolicy } from '@portico/shared/control'
import { answer as accept } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { buildApp } from '../src/app.ts'
import { adminKey, answer, ask, newTenant, read } from './client.ts'
import {
  alpine,
  bodyOf,
  booted,
  deletedOn,
  guest,
  imageScene,
  interrupt,
  object,
  policy,
  stateOf,
} from './image-scene.ts'
import { EventReader, end, stdout, tell, tellsOutput } from './process-guest.ts'
import { guestAnswers, refusing, ScriptedRunner, snapshotSize, tellPull } from './scripted-runner.ts'

const { scene, images, make, listed, remove, create, fresh, events, last, ready, sweep } = imageScene()

describe('the list of images', () => {
  test('has what the runners can boot, and the account`s own, newest first', async () => {
    const runner = await scene.connected()
    await runner.report({ images: ['node', 'python', 'data'], policy })
    const first = await ready({ reference: 'alpine:3.20' })
    const second = await ready({ reference: 'alpine:3.20', name: 'mine' })
    const list = (await (await fresh('/v1/images')).json()) as ImageList
    expect(list).toEqual({ images: ['data', 'node', 'python'], own: [second, first] })
    const stranger = await newTenant()
    expect((await answer<ImageList>('/v1/images', { key: stranger.key })).own).toEqual([])
  })

  test('does not tell what somebody pulled to a runner, and that does not stand in the way of his own', async () => {
    const runner = await scene.connected()
    await ready({ reference: 'alpine:3.20' })
    await runner.report({ images: ['python', alpine.name, alpine.reference] })
    const { key } = await newTenant()
    const headers = { authorization: `Bearer ${key}` }
    const other = await buildApp().request('http://portico.test/v1/images', { headers }, env)
    expect(await other.json()).toEqual({ images: ['python'], own: [] })
    await (await fresh('/v1/runs', { image: alpine.reference, mem_mib: 128 })).json()
    expect(booted(runner)).toBe(alpine.name)
  })

  test('the region tells the defaults of the first runner and the catalogs of all', async () => {
    const runner = await scene.connected()
    const region = env.REGIONS.get(env.REGIONS.idFromName('local')) as unknown as { policy(): Promise<RunnerPolicy> }
    expect(await region.policy()).toBeNull()
    await runner.report({ policy })
    expect(await region.policy()).toEqual(policy)
    await evictAllDurableObjects()
    expect(await region.policy()).toEqual(policy)
  })
})

describe('a pull', () => {
  test('goes on after the answer, is told as it goes, and then is an image to create from', async () => {
    const runner = await scene.connected({
      'image.pull': async (_call, stream) => {
        accept(stream)
        await tellPull(stream, { event: 'progress', phase: 'resolve' })
        await tellPull(stream, { event: 'progress', phase: 'pull', done_bytes: 5, total_bytes: 10 })
        await tellPull(stream, { event: 'progress', phase: 'pull', done_bytes: 10, total_bytes: 10 })
        await tellPull(stream, { event: 'done', image: alpine, took_ms: { resolve: 1, pull: 2, unpack: 3, erofs: 4 } })
        stream.end()
      },
    })
    const begun = await make({ reference: 'alpine:3.20', name: 'mine', tag: 'v1' })
    expect(begun).toMatchObject({ kind: 'pull', status: 'pulling', name: 'mine', tag: 'v1', reference: 'alpine:3.20' })
    const told = await events(begun.id)
    const made = {
      ...{ id: begun.id, kind: 'pull', status: 'ready', name: 'mine', tag: 'v1', created_at: begun.created_at },
      ...{ reference: 'docker.io/library/alpine:3.20', resolved: alpine.name, size_bytes: 7_000_000 },
      ...{ config: alpine.config, took_ms: { resolve: 1, pull: 2, unpack: 3, erofs: 4 } },
    }
    expect(told.at(0)).toEqual({ event: 'progress', phase: 'resolve' })
    expect(told.slice(-2)).toEqual([
      { event: 'progress', phase: 'pull', done_bytes: 10, total_bytes: 10 },
      { event: 'ready', image: made },
    ])
    // Of how far it was only the last is kept.
    expect(await events(begun.id)).toHaveLength(3)
    expect(runner.calls.find(({ op }) => op === 'image.pull')).toMatchObject({
      reference: 'alpine:3.20',
      refresh: true,
    })
    expect(await answer(`/v1/images/${begun.id}`, { key: scene.tenant.key })).toEqual(made)
    expect(await answer('/v1/images/mine:v1', { key: scene.tenant.key })).toEqual(made)
    const run = await scene.created({ image: 'mine:v1' })
    expect(run).toMatchObject({ image: 'mine:v1', resolved_image: alpine.name })
    expect(booted(runner)).toBe(alpine.name)
    // Another tag is none of the account's: the runner decides what it is.
    await scene.created({ image: 'mine:v2' })
    expect(booted(runner)).toBe('mine:v2')
  })

  test('without a name goes by its reference, as it was written and whole, and a newer one takes its place', async () => {
    const runner = await scene.connected()
    const first = await ready({ reference: 'alpine:3.20' })
    for (const image of ['alpine:3.20', 'docker.io/library/alpine:3.20', first.id]) {
      await scene.created({ image })
      expect(booted(runner)).toBe(alpine.name)
    }
    const second = await ready({ reference: 'alpine:3.20' })
    expect((await listed()).map(({ id }) => id)).toEqual([second.id])
    expect(await read(await ask(`/v1/images/${first.id}`, { key: scene.tenant.key }))).toMatchObject({
      status: 404,
      code: 'image_not_found',
    })
  })

  test('that its registry refuses fails with the runner`s reason', async () => {
    const error = { code: 'image_missing', message: 'cannot pull alpine:9: its registry has no such tag' } as const
    const runner = await scene.connected({ 'image.pull': refusing(error) })
    const { id } = await make({ reference: 'alpine:9' })
    expect(await events(id)).toEqual([{ event: 'failed', error: error.message, code: error.code }])
    expect(await listed()).toMatchObject([{ id, status: 'failed', reason: error.message, code: error.code }])
    await scene.created({ image: id })
    expect(booted(runner)).toBe(id)
  })

  test('whose tunnel breaks is asked for again', async () => {
    const runner = await scene.connected({ 'image.pull': (_call, stream) => accept(stream) })
    const call = runner.next('image.pull')
    const { id } = await make({ reference: 'alpine:3.20' })
    await call
    runner.cut()
    const back = await scene.connected()
    expect(await last(id)).toMatchObject({ event: 'ready', image: { resolved: alpine.name } })
    expect(back.count('image.pull')).toBe(1)
  })

  test('that a runner may not do is done by another, and its refusal is what is told if there is none', async () => {
    const error = { code: 'image_not_allowed', message: 'cannot pull an image: not here' } as const
    const first = await scene.connected({ 'image.pull': refusing(error) })
    await first.report({ load: 0 })
    const refused = await make({ reference: 'alpine:3.20' })
    expect(await last(refused.id)).toMatchObject({ event: 'failed', code: error.code })
    const second = await ScriptedRunner.start()
    await second.report({ load: 0.9 })
    await ready({ reference: 'alpine:3.20' })
    expect([first.count('image.pull'), second.count('image.pull')]).toEqual([2, 1])
  })

  test('that its runner gives up says why, and is not asked for again', async () => {
    const runner = await scene.connected({
      'image.pull': async (_call, stream) => {
        accept(stream)
        await tellPull(stream, { event: 'progress', phase: 'resolve' })
        stream.reset({ code: 'deadline', message: 'cannot finish the pull: stuck' })
      },
    })
    const { id } = await make({ reference: 'alpine:3.20' })
    expect(await last(id)).toMatchObject({ event: 'failed', code: 'deadline' })
    expect(runner.count('image.pull')).toBe(1)
  })

  test('that is deleted ends on the runner, and nothing of it is left', async () => {
    const ended = Promise.withResolvers<unknown>()
    const runner = await scene.connected({
      'image.pull': async (_call, stream) => {
        accept(stream)
        await tellPull(stream, { event: 'progress', phase: 'pull', done_bytes: 1, total_bytes: 9 })
        ended.resolve(await stream.done)
      },
    })
    const call = runner.next('image.pull')
    const { id } = await make({ reference: 'alpine:3.20', name: 'mine' })
    await call
    const stream = new EventReader(await ask(`/v1/images/${id}/events`, { key: scene.tenant.key }))
    expect((await stream.next())?.data).toMatchObject({ phase: 'pull', done_bytes: 1 })
    expect(await (await remove(id)).json()).toEqual({ id, status: 'deleted' })
    expect(await ended.promise).toMatchObject({ code: 'cancelled' })
    expect(await stream.next()).toBeUndefined()
    expect(await listed()).toEqual([])
    await expect.poll(() => stateOf(id)).toBeUndefined()
    expect((await remove(id)).status).toBe(404)
  })

  test('that was interrupted is found by the alarm, and fails', async () => {
    const runner = await scene.connected({ 'image.pull': (_call, stream) => accept(stream) })
    const call = runner.next('image.pull')
    const { id } = await make({ reference: 'alpine:3.20' })
    await call
    await interrupt(id)
    expect((await stateOf(id))?.status).toBe('pulling')
    await runDurableObjectAlarm(object(id))
    const reason = 'cannot pull the image: it was interrupted; try again'
    expect(await last(id)).toEqual({ event: 'failed', error: reason, code: 'image_pull_failed' })
    expect(await listed()).toMatchObject([{ id, status: 'failed', reason }])
  })

  test('without a runner in the region fails', async () => {
    const { id } = await make({ reference: 'alpine:3.20' })
    expect(await last(id)).toMatchObject({ event: 'failed', code: 'no_runner' })
  })
})

describe('a build', () => {
  const recipe = {
    name: 'app',
    steps: ['pip install flask', { run: 'make', env: { A: 'b' }, workdir: '/app', user: 'nobody', timeout: 5 }],
    files: [{ path: '/app/main.py', content: btoa('print(1)'), mode: '0644' }],
    env: { SECRET: 'x' },
    vcpus: 2,
    mem_mib: 512,
  }

  test('runs its steps in a sandbox of its own and keeps that as it is then, so that sandboxes of it are restored', async () => {
    const runner = await scene.connected(guest())
    const begun = await make({ ...recipe, start: 'serve', ready_port: 8080 })
    expect(begun).toMatchObject({ kind: 'build', status: 'building', name: 'app', tag: 'latest', from: 'python' })
    const told = await events(begun.id)
    expect(told.slice(0, -1)).toEqual([
      { event: 'progress', phase: 'create' },
      { event: 'progress', phase: 'files' },
      { event: 'progress', phase: 'step', step: 1, command: 'pip install flask' },
      { event: 'output', stream: 'stdout', text: 'ran pip install flask\n' },
      { event: 'progress', phase: 'step', step: 2, command: 'make' },
      { event: 'output', stream: 'stdout', text: 'ran make\n' },
      { event: 'progress', phase: 'start', command: 'serve' },
      { event: 'progress', phase: 'snapshot' },
    ])
    const image = imageRecord.parse((told.at(-1) as { image?: unknown }).image)
    expect(image).toMatchObject({ status: 'ready', size_bytes: snapshotSize, vcpus: 2, mem_mib: 512, from: 'python' })
    const made = runner.calls.find((call) => call.op === 'sandbox.create')
    expect(made).toMatchObject({ spec: { image: 'python', vcpus: 2, mem_mib: 512, env: { SECRET: 'x' } } })
    const taken = runner.calls.find((call) => call.op === 'sandbox.snapshot')
    expect(await scene.listed()).toEqual([])
    expect(runner.count('sandbox.destroy')).toBe(1)
    expect(await answer('/v1/snapshots', { key: scene.tenant.key })).toEqual({ snapshots: [] })
    await evictAllDurableObjects()

    const restored = await answer<Record<string, unknown>>('/v1/runs', {
      key: scene.tenant.key,
      json: { image: 'app', env: { B: 'c' }, timeout: 9, labels: { a: 'b' }, vcpus: 2 },
    })
    expect(restored).toMatchObject({ image: 'app', vcpus: 2, mem_mib: 512, timeout: 9, labels: { a: 'b' } })
    expect(runner.calls.findLast((call) => call.op === 'sandbox.restore')).toMatchObject({
      snapshot: taken?.op === 'sandbox.snapshot' ? taken.snapshot : '',
      spec: { image: 'python', env: { B: 'c' }, idle_timeout: 9 },
    })
    const wrong = await read(await create({ image: 'app', mem_mib: 1024 }))
    expect(wrong).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(wrong.error).toContain('mem_mib = 1024, but the image app was built with mem_mib = 512')
    const snapshot = restored.restored_from as string
    expect((await ask(`/v1/snapshots/${snapshot}`, { method: 'DELETE', key: scene.tenant.key })).status).toBe(404)

    await remove('app')
    await sweep()
    await expect.poll(() => deletedOn(runner)).toEqual([snapshot])
  })

  test('whose step fails says which, and how that ended', async () => {
    const runner = await scene.connected(guest((shell) => (shell === 'make' ? 3 : 0)))
    const { id } = await make(recipe)
    const over = await last(id)
    expect(over).toEqual({
      event: 'failed',
      code: 'build_failed',
      error: 'cannot build the image: step 2 exited with code 3: ran make',
    })
    expect(runner.count('sandbox.snapshot')).toBe(0)
    await expect.poll(() => runner.count('sandbox.destroy')).toBe(1)
    await scene.created({ image: 'app' })
    expect(booted(runner)).toBe('app')
  })

  test('whose base cannot be had fails with that reason', async () => {
    const error = {
      code: 'image_not_allowed',
      message: 'cannot create the sandbox: image nope is not allowed',
    } as const
    await scene.connected({ 'sandbox.create': refusing(error) })
    const { id } = await make({ ...recipe, from: 'nope' })
    expect(await last(id)).toMatchObject({ event: 'failed', code: 'image_not_allowed' })
  })

  test('that takes a name over removes the one that had it', async () => {
    const runner = await scene.connected(guest())
    const first = await ready(recipe)
    const second = await ready(recipe)
    expect((await listed()).map(({ id }) => id)).toEqual([second.id])
    const [taken] = runner.calls.flatMap((call) => (call.op === 'sandbox.snapshot' ? [call.snapshot] : []))
    await sweep()
    await expect.poll(() => deletedOn(runner)).toEqual([taken])
    await expect.poll(() => stateOf(first.id)).toBeUndefined()
  })

  test('that is deleted in the middle ends its step and its sandbox', async () => {
    const under = Promise.withResolvers<void>()
    const runner = await scene.connected({
      'guest.request': async (_call, stream) => {
        tellsOutput(stream)
        await tell(stream, stdout(0, 'hm'))
        under.resolve()
      },
    })
    const { id } = await make({ name: 'app', steps: ['sleep 1000'] })
    await under.promise
    expect((await remove(id)).status).toBe(200)
    await expect.poll(() => runner.count('sandbox.destroy')).toBe(1)
    await expect.poll(() => stateOf(id)).toBeUndefined()
    expect(runner.count('sandbox.snapshot')).toBe(0)
    expect(await scene.listed()).toEqual([])
  })

  test('that was interrupted is found by the alarm: its sandbox is destroyed, and what it tells is kept', async () => {
    const under = Promise.withResolvers<void>()
    const runner = await scene.connected({
      'guest.request': async (_call, stream) => {
        tellsOutput(stream)
        await tell(stream, stdout(0, 'hm'))
        under.resolve()
      },
    })
    const { id } = await make({ name: 'app', steps: ['sleep 1000'] })
    await under.promise
    await expect.poll(async () => (await stateOf(id))?.sandbox).toBeTypeOf('string')
    await interrupt(id)
    await runDurableObjectAlarm(object(id))
    await expect.poll(() => runner.count('sandbox.destroy')).toBe(1)
    const told = await events(id)
    const reason = 'cannot build the image: it was interrupted; try again'
    expect(told.at(-1)).toEqual({ event: 'failed', error: reason, code: 'build_failed' })
    expect(told).toContainEqual({ event: 'progress', phase: 'step', step: 1, command: 'sleep 1000' })
    expect((await stateOf(id))?.sandbox).toBeNull()
    expect(await scene.listed()).toEqual([])
  })

  test('whose snapshot went away under a create is answered as an image that is not there', async () => {
    const error = { code: 'snapshot_not_found', message: 'cannot restore: none' } as const
    await scene.connected({ ...guest(), 'sandbox.restore': refusing(error) })
    await ready(recipe)
    expect(await read(await create({ image: 'app' }))).toMatchObject({ status: 404, code: 'image_not_found' })
  })

  test('of one built before begins with that', async () => {
    const runner = await scene.connected(guest())
    await ready(recipe)
    const next = await ready({ name: 'next', from: 'app', steps: ['more'] })
    expect(next).toMatchObject({ from: 'app', vcpus: 2, mem_mib: 512, disk_mib: 4096 })
    expect(runner.count('sandbox.create')).toBe(1)
    expect(runner.count('sandbox.restore')).toBe(1)
  })
})

describe('events', () => {
  test('are told from behind the last one that was heard', async () => {
    await scene.connected(guest())
    const { id } = await make({ name: 'app', steps: ['one', 'two'] })
    const response = await ask(`/v1/images/${id}/events`, { key: scene.tenant.key })
    const all = await new EventReader(response).rest()
    expect(all.map((one) => one.id)).toEqual(all.map((_one, index) => String(index + 1)))
    expect(await events(id, { 'last-event-id': '4' })).toEqual(all.slice(4).map(({ data }) => data))
    const wrong = await ask(`/v1/images/${id}/events`, { key: scene.tenant.key, headers: { 'last-event-id': 'x' } })
    expect(await read(wrong)).toMatchObject({ status: 400, code: 'invalid_request' })
  })

  test('are bounded: of what steps print the oldest makes room', async () => {
    const under = Promise.withResolvers<void>()
    await scene.connected({
      'guest.request': async (call, stream) => {
        if (call.path !== '/processes') return guestAnswers(stream, 404, {})
        await bodyOf(stream)
        tellsOutput(stream)
        for (let at = 0; at < 40; at++) await tell(stream, stdout(at * 50_000, String(at % 10).repeat(50_000)))
        await tell(stream, end(2_000_000))
        stream.end()
        under.resolve()
      },
    })
    const { id } = await make({ name: 'app', steps: ['print'] })
    await under.promise
    expect(await last(id)).toMatchObject({ event: 'ready' })
    const text = (await events(id)).map((event) => (event.event === 'output' ? event.text : '')).join('')
    expect(text.length).toBeGreaterThan(900_000)
    expect(text.length).toBeLessThan(1_048_576)
    expect(text.endsWith('9')).toBe(true)
  })
})

describe('a name', () => {
  test('or anything else that is wrong is refused with its place', async () => {
    const wrong: [object, string][] = [
      [{ reference: 'alpine:3.20', name: 'Python' }, 'name: a name has small letters'],
      [{ reference: 'alpine:3.20', name: 'a b' }, 'name: a name has small letters'],
      [{ reference: 'alpine:3.20', name: 'a', tag: '.x' }, 'tag: a tag has letters'],
      [{ reference: 'alpine:3.20', tag: 'x' }, 'a tag is of a name'],
      [{ reference: '' }, 'reference'],
      [{ reference: 'alpine', steps: ['x'] }, 'steps'],
      [{ steps: ['x'] }, 'name'],
      [{ name: 'a', steps: [{ run: 'x', workdir: 'relative' }] }, 'steps.0'],
      [{ name: 'a', files: [{ path: 'relative', content: '' }] }, 'files.0.path'],
      [[], 'the body'],
    ]
    for (const [json, why] of wrong) {
      const refused = await read(await images({ json }))
      expect(refused).toMatchObject({ status: 400, code: 'invalid_request' })
      expect(refused.error).toContain(why)
    }
  })

  test('that the region has is refused: a preset`s, a custom image`s, an alias', async () => {
    const runner = await scene.connected()
    await runner.report({ images: ['alias:latest', 'node', 'python'], policy })
    for (const name of ['python', 'data', 'alias']) {
      const refused = await read(await fresh('/v1/images', { reference: 'alpine:3.20', name }))
      expect(refused, name).toMatchObject({ status: 409, code: 'conflict' })
    }
  })

  test('that the region gets later is the region`s', async () => {
    const runner = await scene.connected()
    await ready({ reference: 'alpine:3.20', name: 'later' })
    await runner.report({ images: ['later', 'python'] })
    await (await fresh('/v1/runs', { image: 'later', mem_mib: 128 })).json()
    expect(booted(runner)).toBe('later')
  })

  test('of another account leads nowhere', async () => {
    const runner = await scene.connected()
    const mine = await ready({ reference: 'alpine:3.20', name: 'mine' })
    const { key } = await newTenant()
    for (const named of [mine.id, 'mine', 'mine:latest']) {
      for (const [path, method] of [
        ['', 'GET'],
        ['', 'DELETE'],
        ['/events', 'GET'],
      ] as const) {
        const refused = await read(await ask(`/v1/images/${named}${path}`, { method, key }))
        expect(refused).toMatchObject({ status: 404, code: 'image_not_found' })
      }
    }
    await answer('/v1/runs', { key, json: { image: 'mine', mem_mib: 128 } })
    expect(booted(runner)).toBe('mine')
  })

  test('that is taken over by another pull leaves the former its reference', async () => {
    await scene.connected()
    const first = await ready({ reference: 'alpine:3.20', name: 'mine' })
    const second = await ready({ reference: 'debian:12', name: 'mine' })
    expect(await answer('/v1/images/mine', { key: scene.tenant.key })).toEqual(second)
    const { name: _name, tag: _tag, ...nameless } = first
    expect(await answer('/v1/images/alpine:3.20', { key: scene.tenant.key })).toEqual(nameless)
  })
})

describe('limits', () => {
  test('no more than four are made at once', async () => {
    await scene.connected({ 'image.pull': (_call, stream) => accept(stream) })
    for (let number = 0; number < 4; number++) await make({ reference: `alpine:${number}` })
    const refused = await read(await images({ json: { reference: 'alpine:5' } }))
    expect(refused).toMatchObject({ status: 429, code: 'quota_exceeded' })
    expect(refused.error).toContain('images under way = 4')
  })

  test('a build counts against the limit of snapshots', async () => {
    const runner = await scene.connected(guest())
    await answer(`/admin/accounts/${scene.tenant.account}/limits`, {
      method: 'PUT',
      key: adminKey,
      json: { snapshots: 1 },
    })
    await ready({ name: 'one' })
    const refused = await read(await images({ json: { name: 'two' } }))
    expect(refused).toMatchObject({ status: 429, code: 'quota_exceeded' })
    expect(refused.error).toContain('snapshots = 1')
    await remove('one')
    await sweep()
    await expect.poll(() => deletedOn(runner).length).toBe(1)
    await expect.poll(async () => (await images({ json: { name: 'two' } })).status).toBe(202)
  })

  test('an account at its limit of snapshots builds a name anew, and what was removed counts at once', async () => {
    await scene.connected(guest())
    await answer(`/admin/accounts/${scene.tenant.account}/limits`, {
      method: 'PUT',
      key: adminKey,
      json: { snapshots: 1 },
    })
    await ready({ name: 'one' })
    await ready({ name: 'one' })
    expect((await images({ json: { name: 'two' } })).status).toBe(429)
    await remove('one')
    await ready({ name: 'two' })
  })

  test('a repeated call with its Idempotency-Key makes one image', async () => {
    await scene.connected()
    const json = { reference: 'alpine:3.20' }
    const headers = { 'idempotency-key': 'one' }
    const first = imageRecord.parse(await (await images({ json, headers })).json())
    const again = await images({ json, headers })
    expect(again.status).toBe(202)
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(await again.json()).toEqual(first)
    const other = await read(await images({ json: { reference: 'alpine:3.21' }, headers }))
    expect(other.code).toBe('idempotency_mismatch')
    expect(await listed()).toHaveLength(1)
  })
})
