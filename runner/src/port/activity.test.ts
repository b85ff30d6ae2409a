/** Connections to ports in the life of a sandbox: what keeps it awake, what wakes it, and what goes on across its sleep. */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type SetUp, setUp, spec } from '../testing/sandboxes.ts'

vi.setConfig({ testTimeout: 30_000 })
const signal = new AbortController().signal
let scene: SetUp
let server: Server
let port: number

beforeEach(async () => {
  scene = await setUp()
  server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
afterEach(async () => {
  await scene.registry.destroyAll('asked')
  await new Promise((closed) => server.close(closed))
  await scene.remove()
})

const sleepy = { ...spec, idle_timeout: 10, on_idle: 'hibernate', auto_resume: true } as const
const state = () => scene.registry.list()[0]?.state

async function said(duplex: Duplex, text: string): Promise<string> {
  const answer = once(duplex, 'data')
  duplex.write(text)
  return String((await answer)[0])
}

async function asleep(): Promise<void> {
  await expect.poll(state, { timeout: 20_000 }).toBe('hibernated')
}

it('stays awake while a connection is open, and counts its end as activity', async () => {
  const { registry, clock } = scene
  await registry.create('a', 1, sleepy)
  const duplex = await registry.connect('a', 1, port, signal)
  await clock.advance(100_000)
  expect(state()).toBe('running')
  duplex.destroy()
  await once(duplex, 'close')
  await clock.advance(9999)
  expect(state()).toBe('running')
  await clock.advance(1)
  await asleep()
})

it('falls asleep although a connection is kept for the next request', async () => {
  const { registry, clock } = scene
  await registry.create('a', 1, { ...sleepy, idle_timeout: 1 })
  const lent = await registry.borrow('a', 1, port, { signal, fresh: false })
  await clock.advance(50_000)
  expect(state()).toBe('running')
  lent.giveBack()
  await clock.advance(1000)
  await asleep()
})

it('lends the connection that was given back last, and none that its server has closed', async () => {
  const { registry } = scene
  await registry.create('a', 1, spec)
  const borrow = (fresh = false) => registry.borrow('a', 1, port, { signal, fresh })
  const [first, second] = [await borrow(), await borrow()]
  first.giveBack()
  second.giveBack()
  second.giveBack()
  const third = await borrow()
  expect([third.reused, third.duplex === second.duplex]).toEqual([true, true])
  expect((await borrow(true)).reused).toBe(false)
  first.duplex.emit('end')
  expect((await borrow()).reused).toBe(false)
})

it('wakes a sandbox for a connection where its owner wants that, and no other', async () => {
  const { registry } = scene
  await registry.create('a', 1, sleepy)
  await registry.hibernate('a', 1)
  expect(await said(await registry.connect('a', 1, port, signal), 'awake')).toBe('awake')
  await registry.create('b', 1, spec)
  await registry.hibernate('b', 1)
  const refused = { code: 'sandbox_hibernated' }
  await expect(registry.connect('b', 1, port, signal)).rejects.toMatchObject(refused)
  await expect(registry.borrow('b', 1, port, { signal, fresh: false })).rejects.toMatchObject(refused)
})

it('goes on with a connection after the sandbox has slept', async () => {
  const { registry } = scene
  await registry.create('a', 1, spec)
  const duplex = await registry.connect('a', 1, port, signal)
  expect(await said(duplex, 'before')).toBe('before')
  await registry.hibernate('a', 1)
  const answer = once(duplex, 'data')
  duplex.write('meanwhile')
  await registry.resume('a', 1)
  expect(String((await answer)[0])).toBe('meanwhile')
  expect(await said(duplex, 'after')).toBe('after')
})

it('ends connections with their sandbox', async () => {
  const { registry } = scene
  await registry.create('a', 1, spec)
  const duplex = await registry.connect('a', 1, port, signal)
  const kept = await registry.borrow('a', 1, port, { signal, fresh: true })
  kept.giveBack()
  const closed = [duplex, kept.duplex].map((one) => new Promise((resolve) => one.once('close', resolve)))
  await registry.destroy('a', 1)
  await Promise.all(closed)
  expect(duplex.errored).toMatchObject({ code: 'sandbox_not_running' })
})

it('ends each direction by itself', async () => {
  const { registry } = scene
  await registry.create('a', 1, spec)
  const duplex = await registry.connect('a', 1, port, signal)
  duplex.end('all of it')
  const parts: Buffer[] = []
  for await (const part of duplex) parts.push(part as Buffer)
  expect(String(Buffer.concat(parts))).toBe('all of it')
})
