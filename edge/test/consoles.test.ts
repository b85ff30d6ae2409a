/** Consoles through the front door: who sees what, what a cut and an eviction cost, and what links and keys open. */

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { ConsoleLink, ConsoleRecord } from '@portico/shared/api'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { adminKey, answer, ask, newTenant, refusal } from './client.ts'
import { RunnerScene } from './runner-scene.ts'
import { ScriptedGuest } from './scripted-guest.ts'
import type { ScriptedRunner } from './scripted-runner.ts'
import { View } from './viewing.ts'

const scene = new RunnerScene()
let guest: ScriptedGuest
let runner: ScriptedRunner
let run: string
const views: View[] = []

beforeEach(async () => {
  guest = new ScriptedGuest()
  runner = await scene.connected({ 'guest.request': guest.serve })
  run = (await scene.created()).id
})
afterEach(async () => {
  for (const view of views.splice(0)) view.leave()
  // What follows a process would look for its runner in the next test.
  for (const process of guest.processes.values()) process.end(0)
})

const at = (path = '') => `/v1/runs/${run}/consoles${path}`
const key = () => scene.tenant.key
const create = (json: object = {}) => answer<ConsoleRecord>(at(), { key: key(), json })
const stub = (id: string) => env.CONSOLES.get(env.CONSOLES.idFromName(id))

async function attach(id: string, query = '', withKey: string | null = key()): Promise<View> {
  const view = await View.open(`${at(`/${id}/attach`)}${query}`, withKey ?? undefined)
  views.push(view)
  return view
}

describe('a console', () => {
  test('runs its command on a terminal of its size, and is listed, read and deleted', async () => {
    const made = await create({ command: 'top', name: 'mine', cols: 100, rows: 30, env: { A: '1' }, cwd: '/app' })
    expect(made).toMatchObject({ run, name: 'mine', cols: 100, rows: 30, state: 'running', viewers: 0 })
    expect(guest.started).toEqual([
      {
        path: '/processes',
        asked: {
          shell: 'top',
          env: { TERM: 'xterm-256color', A: '1' },
          cwd: '/app',
          tty: { cols: 100, rows: 30 },
          buffer_bytes: 1_048_576,
        },
      },
    ])
    expect(await answer(at(), { key: key() })).toEqual({ consoles: [made] })
    expect(await answer(at(`/${made.id}`), { key: key() })).toEqual(made)
    const { process } = guest
    await answer(at(`/${made.id}`), { method: 'DELETE', key: key() })
    expect(process.removed).toBe(true)
    expect(await answer(at(), { key: key() })).toEqual({ consoles: [] })
    expect(await refusal(at(`/${made.id}`), { key: key() })).toMatchObject({ status: 404, code: 'not_found' })
  })

  test('is forgotten in its sandbox, too, when it is deleted after its end', async () => {
    const { id } = await create()
    const viewer = await attach(id)
    await viewer.event('joined')
    const { process } = guest
    process.end(3)
    expect(await viewer.event('exit')).toMatchObject({ exit_code: 3 })
    expect(await answer(at(`/${id}`), { key: key() })).toMatchObject({ state: 'exited', exit_code: 3 })
    expect(process.removed).toBe(false)
    await answer(at(`/${id}`), { method: 'DELETE', key: key() })
    expect(process.removed).toBe(true)
  })

  test('shows all viewers the same, and whoever joins later what was before', async () => {
    const { id } = await create()
    const first = await attach(id)
    expect(await first.event('joined')).toEqual({
      type: 'joined',
      console: id,
      access: 'write',
      cols: 80,
      rows: 24,
      offset: 0,
    })
    guest.process.print('hello ')
    await first.shows('hello ')
    const second = await attach(id)
    await second.shows('hello ')
    expect(second.order).toEqual(['joined', '= hello ', 'live', 'viewers'])
    guest.process.print('all')
    await Promise.all([first.shows('hello all'), second.shows('hello all')])
    second.type('ls\n')
    await expect.poll(() => guest.process.input).toBe('ls\n')
    expect(await answer(at(`/${id}`), { key: key() })).toMatchObject({ viewers: 2 })
    second.leave()
    await expect.poll(() => first.of('viewers').at(-1)).toEqual({ type: 'viewers', count: 1 })
  })

  test('has one size, which everybody is told', async () => {
    const { id } = await create()
    const [first, second] = [await attach(id), await attach(id)]
    await second.event('live')
    first.say({ type: 'resize', cols: 120, rows: 50 })
    expect(await second.event('size')).toEqual({ type: 'size', cols: 120, rows: 50 })
    await expect.poll(() => guest.process.sizes.at(-1)).toEqual({ cols: 120, rows: 50 })
    expect(await answer(at(`/${id}`), { key: key() })).toMatchObject({ cols: 120, rows: 50 })
  })

  test('tells its end and closes, and can be looked at after that', async () => {
    const { id } = await create()
    const view = await attach(id)
    guest.process.print('bye')
    guest.process.end(3)
    expect(await view.event('exit')).toEqual({ type: 'exit', exit_code: 3 })
    await expect.poll(() => view.closed?.code).toBe(1000)
    expect(view.text).toBe('bye')
    const later = await attach(id)
    await later.event('exit')
    expect(later.text).toBe('bye')
    expect(await answer(at(`/${id}`), { key: key() })).toMatchObject({ state: 'exited', exit_code: 3 })
  })

  test('refuses frames that are none, and goes on', async () => {
    const { id } = await create()
    const view = await attach(id)
    view.socket.send('nonsense')
    expect(await view.event('error')).toMatchObject({ code: 'invalid_request' })
    view.type('x')
    await expect.poll(() => guest.process.input).toBe('x')
  })

  test('sends a viewer that acknowledges no more than 1 MiB ahead, and loses nothing of it', async () => {
    const { id } = await create()
    const view = await attach(id)
    await view.event('live')
    view.say({ type: 'ack', bytes: 0 })
    const piece = 'x'.repeat(32_768)
    for (let printed = 0; printed < 64; printed++) guest.process.print(piece)
    await expect.poll(() => view.text.length).toBe(1_048_576)
    view.say({ type: 'ack', bytes: 1_048_576 })
    await expect.poll(() => view.text.length).toBe(2_097_152)
    expect(view.of('gap')).toEqual([])
  })
})

describe('a cut', () => {
  test('is bridged: nothing is shown twice, nothing typed is lost', async () => {
    const { id } = await create()
    const view = await attach(id)
    guest.process.print('one ')
    await view.shows('one ')
    view.type('a')
    await expect.poll(() => guest.process.input).toBe('a')
    runner.cut()
    expect(await view.event('link')).toMatchObject({ state: 'reconnecting' })
    guest.process.print('two ')
    view.type('b')
    const back = await scene.back({ 'guest.request': guest.serve })
    await back.report({ sandboxes: [{ sandbox: run, generation: 1, state: 'running' }] as never })
    await view.shows('one two ')
    await expect.poll(() => guest.process.input).toBe('ab')
    await expect.poll(() => view.of('link').at(-1)).toEqual({ type: 'link', state: 'connected' })
    guest.process.print('three')
    await view.shows('one two three')
  })

  test('beyond what the process keeps is told as a gap', async () => {
    const { id } = await create()
    const view = await attach(id)
    guest.process.print('0123')
    await view.shows('0123')
    guest.process.cut()
    guest.process.print('456789')
    guest.process.forgetUntil(8)
    await view.shows('012389')
    expect(await view.event('gap')).toEqual({ type: 'gap', bytes: 4 })
  })
})

describe('the object', () => {
  // While it follows a process it is not evicted: with its runner away it is.
  test.each([
    ['the next message', (view: View) => view.type('typed')],
    ['its alarm', (_view: View, id: string) => runDurableObjectAlarm(stub(id))],
  ])('goes on after an eviction at %s, with its sockets, its scrollback and its size', async (_name, goOn) => {
    const { id } = await create()
    const view = await attach(id)
    guest.process.print('before ')
    await view.shows('before ')
    view.say({ type: 'resize', cols: 90, rows: 20 })
    await view.event('size')
    runner.cut()
    await view.event('link')
    await evictDurableObject(stub(id))
    guest.process.print('after')
    const back = await scene.back({ 'guest.request': guest.serve })
    await back.report({ sandboxes: [{ sandbox: run, generation: 1, state: 'running' }] as never })
    await goOn(view, id)
    await view.shows('before after')
    await expect.poll(() => view.of('link').at(-1)).toEqual({ type: 'link', state: 'connected' })
    view.type('!')
    await expect.poll(() => guest.process.input).toMatch(/^(typed)?!$/)
    const second = await attach(id)
    await second.shows('before after')
    expect(await second.event('joined')).toMatchObject({ cols: 90, rows: 20 })
  })

  test('stops reading when nobody looks on for a while, and reads on from there when somebody joins', async () => {
    const { id } = await create()
    const view = await attach(id)
    guest.process.print('seen ')
    await view.shows('seen ')
    view.leave()
    await expect.poll(async () => (await answer(at(`/${id}`), { key: key() })).viewers).toBe(0)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 31_000 })
    try {
      await runDurableObjectAlarm(stub(id))
      await expect.poll(() => guest.process.followers).toBe(0)
    } finally {
      vi.useRealTimers()
    }
    guest.process.print('later')
    const again = await attach(id)
    await again.shows('seen later')
    expect(guest.process.asked.at(-1)).toBe(5)
  })

  test('that was never opened has nothing, and asking for it writes nothing', async () => {
    const id = `con${'a'.repeat(26)}`
    expect(await refusal(at(`/${id}`), { key: key() })).toMatchObject({ status: 404, code: 'not_found' })
    const tables = await runInDurableObject(stub(id), (_object, { storage }) => storage.sql.databaseSize)
    const never = await runInDurableObject(
      stub(`con${'b'.repeat(25)}a`),
      (_object, { storage }) => storage.sql.databaseSize,
    )
    expect(tables).toBe(never)
  })
})

describe('a sandbox', () => {
  test('that is destroyed takes its consoles along', async () => {
    const { id } = await create()
    const view = await attach(id)
    await view.event('live')
    await answer(`/v1/runs/${run}`, { method: 'DELETE', key: key() })
    guest.process.cut()
    expect(await view.event('error')).toMatchObject({ code: 'sandbox_not_found' })
    await expect.poll(() => view.closed?.code).toBe(1001)
  })

  test('that is hibernated is let sleep, and what is typed to it is refused', async () => {
    const { id } = await create()
    const view = await attach(id)
    await view.event('live')
    // Nothing cuts the connection: the machine says nothing any more.
    await scene.post(`${run}/hibernate`)
    expect(await view.event('link')).toMatchObject({ state: 'reconnecting' })
    const asked = guest.paths.length
    view.type('hello')
    expect(await view.event('error')).toMatchObject({ code: 'sandbox_hibernated' })
    expect(guest.paths.length).toBe(asked)
    await scene.post(`${run}/resume`)
    guest.process.print('awake')
    await view.shows('awake')
    expect(guest.process.input).toBe('')
  })

  test('that wakes on any use is woken by a key, which arrives once', async () => {
    run = (await scene.created({ auto_resume: true })).id
    const { id } = await create()
    const view = await attach(id)
    await view.event('live')
    view.type('a')
    await expect.poll(() => guest.process.input).toBe('a')
    guest.process.print('a')
    await view.shows('a')
    await scene.post(`${run}/hibernate`)
    expect(await view.event('link')).toMatchObject({ state: 'reconnecting' })
    await expect.poll(() => guest.process.followers).toBe(0)
    view.type('b')
    await expect.poll(() => view.of('link').at(-1)).toEqual({ type: 'link', state: 'connected' })
    guest.process.print('wake')
    await view.shows('awake')
    expect(guest.process.input).toBe('ab')
  })
})

describe('a link', () => {
  const link = async (id: string, json: object = {}) => answer<ConsoleLink>(at(`/${id}/links`), { key: key(), json })

  test('opens its console to look on, and what is typed there goes nowhere', async () => {
    const { id } = await create()
    const { token, access, url } = await link(id)
    expect(access).toBe('read')
    expect(url).toBe(`http://portico.test/console/#/c/${run}/${id}?token=${token}`)
    const view = await attach(id, `?token=${token}`, null)
    expect(await view.event('joined')).toMatchObject({ access: 'read' })
    view.type('rm -rf /')
    expect(await view.event('error')).toMatchObject({ code: 'forbidden' })
    view.say({ type: 'resize', cols: 10, rows: 10 })
    await expect.poll(() => view.of('error').length).toBe(2)
    guest.process.print('seen')
    await view.shows('seen')
    expect(guest.process.input).toBe('')
  })

  test('to write writes', async () => {
    const { id } = await create()
    const { token } = await link(id, { access: 'write', expires_in: 60 })
    const view = await attach(id, `?token=${token}`, null)
    view.type('x')
    await expect.poll(() => guest.process.input).toBe('x')
  })

  test('opens nothing else, and not for longer', async () => {
    const { id } = await create()
    const other = await create()
    const { token } = await link(id)
    const open = (path: string, given: string) =>
      refusal(`${path}?token=${given}`, { headers: { upgrade: 'websocket' } })
    expect(await open(at(`/${other.id}/attach`), token)).toMatchObject({ status: 404 })
    const another = (await scene.created()).id
    expect(await open(`/v1/runs/${another}/consoles/${id}/attach`, token)).toMatchObject({ status: 404 })
    expect(await open(`/v1/runs/${run}/terminal`, token)).toMatchObject({ status: 401 })
    expect(await open(`/v1/runs/${run}/shell`, token)).toMatchObject({ status: 401 })
    expect(await refusal(`${at(`/${id}`)}?token=${token}`)).toMatchObject({ status: 401 })
    expect(await refusal(at(`/${id}`), { key: token })).toMatchObject({ status: 401 })
    const [head, content = '', seal = ''] = token.split(/(?<=^portico_link)_|_(?=[a-z2-7]{52}$)/)
    const scope = JSON.parse(atob(content.replaceAll('-', '+').replaceAll('.', '/'))) as object
    const forged = btoa(JSON.stringify({ ...scope, access: 'write' })).replaceAll('=', '')
    expect(await open(at(`/${id}/attach`), `${head}_${forged}_${seal}`)).toMatchObject({ status: 401 })
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_601_000 })
    try {
      expect(await open(at(`/${id}/attach`), token)).toMatchObject({
        status: 401,
        error: expect.stringContaining('expired'),
      })
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('a key', () => {
  test('in the URL opens sockets alone, and no log line has it', async () => {
    const { id } = await create()
    const lines: string[] = []
    const spies = (['log', 'warn', 'error', 'info'] as const).map((level) =>
      vi.spyOn(console, level).mockImplementation((...said) => void lines.push(said.map(String).join(' '))),
    )
    try {
      const view = await attach(id, `?token=${key()}`, null)
      await view.event('live')
      const upgrade = { headers: { upgrade: 'websocket' } }
      const wrong = `${key().slice(0, -1)}${key().endsWith('a') ? 'b' : 'a'}`
      expect(await refusal(`/v1/runs/${run}/terminal?token=${wrong}`, upgrade)).toMatchObject({ status: 401 })
      expect(await refusal(`${at(`/${id}`)}?token=${key()}`)).toMatchObject({ status: 401 })
      expect(await refusal(`/v1/runs/${run}/nothing?token=${key()}`)).toMatchObject({ status: 404 })
      runner.cut()
      const cut = await ask(`/v1/runs/${run}/terminal?token=${key()}`, upgrade)
      expect(cut.status).toBe(503)
      await cut.text()
    } finally {
      for (const spy of spies) spy.mockRestore()
    }
    expect(lines.filter((line) => line.includes(key().slice(-20)) || line.includes('token='))).toEqual([])
  })

  test('that only reads looks on, and a stranger finds nothing', async () => {
    const { id } = await create()
    const path = `/admin/accounts/${scene.tenant.account}/keys`
    const json = { region: 'local', scope: 'read-only' }
    const { key: reader } = await answer<{ key: string }>(path, { key: adminKey, json })
    const view = await attach(id, '', reader)
    expect(await view.event('joined')).toMatchObject({ access: 'read' })
    const stranger = (await newTenant()).key
    const foreign = await refusal(at(`/${id}/attach`), { key: stranger, headers: { upgrade: 'websocket' } })
    expect(foreign).toMatchObject({ status: 404 })
  })
})
