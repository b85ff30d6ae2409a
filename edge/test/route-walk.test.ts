/**
 * Every row of the table that takes a key, tried with every key that is not the right one. A new row fails here until `ways` says how it is
 * called: its owner's call must succeed, so that nothing is refused for a reason that has nothing to do with the key.
 */

import { env } from 'cloudflare:workers'
import { keyScopes, type RunRecord, type SnapshotResponse } from '@portico/shared/api'
import { FakeClock } from '@portico/shared/clock'
import { answer as accept } from '@portico/shared/tunnel'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildApp } from '../src/app.ts'
import type { Key, Scope } from '../src/ports.ts'
import type { Need } from '../src/routes/row.ts'
import { table } from '../src/routes/table.ts'
import { type Ask, adminKey, answer, ask, newTenant, type Tenant } from './client.ts'
import { someCheckpoint, someProcess, someService, someStat } from './guest-scene.ts'
import { guestAnswers, ScriptedRunner } from './scripted-runner.ts'

/** What a call names, by path or body; `nothing` is a call about the account as a whole, which answers each account about itself. */
type Names = 'sandbox' | 'snapshot' | 'webhook' | 'console' | 'session' | 'image' | 'nothing'

interface Way {
  readonly names: Names
  readonly query?: string
  readonly json?: (ids: Ids) => object
  readonly body?: string
  readonly headers?: Record<string, string>
}

/** Ids as they stand in paths and bodies. */
interface Ids {
  readonly sandbox: string
  readonly snapshot: string
  readonly webhook: string
  readonly console: string
  readonly session: string
  readonly image: string
}

const file = { names: 'sandbox', query: '?path=/etc/hostname' } as const
const ofSandbox = { names: 'sandbox' } as const
const iris = '/iris.public.v1.SandboxService'
const ofIris: Way = { names: 'sandbox', json: ({ sandbox }) => ({ sandbox_id: sandbox.replace('run', 'sb_') }) }
const ofAccount = { names: 'nothing' } as const
const socket = { headers: { upgrade: 'websocket' } } as const
/** Told of what does not happen here, so that nobody is called. */
const hook = { url: 'http://receiver.test/hook', events: ['sandbox.lost'] }

/** How each row is called. */
const ways: Readonly<Record<string, Way>> = {
  'GET /v1/images': ofAccount,
  'POST /v1/images': { ...ofAccount, json: () => ({ reference: 'alpine:3.20' }) },
  'GET /v1/images/:image': { names: 'image' },
  'DELETE /v1/images/:image': { names: 'image' },
  'GET /v1/images/:image/events': { names: 'image' },
  'GET /v1/runs': ofAccount,
  'POST /v1/runs': { ...ofAccount, json: () => ({ image: 'python', mem_mib: 128 }) },
  'POST /v1/runs/restore': { names: 'snapshot', json: ({ snapshot }) => ({ snapshot_id: snapshot }) },
  'GET /v1/runs/history': ofAccount,
  'GET /v1/runs/:id': ofSandbox,
  'PATCH /v1/runs/:id': { ...ofSandbox, json: () => ({ timeout: 5 }) },
  'DELETE /v1/runs/:id': ofSandbox,
  'POST /v1/runs/:id/fork': { ...ofSandbox, json: () => ({ count: 1 }) },
  'POST /v1/runs/:id/snapshot': ofSandbox,
  'POST /v1/runs/:id/hibernate': ofSandbox,
  'POST /v1/runs/:id/resume': ofSandbox,
  'GET /v1/runs/:id/usage': ofSandbox,
  'GET /v1/runs/:id/audit': ofSandbox,
  'POST /v1/runs/:id/exec': { ...ofSandbox, json: () => ({ command: 'true' }) },
  'POST /v1/runs/:id/exec/stream': { ...ofSandbox, json: () => ({ command: 'true' }) },
  'GET /v1/runs/:id/processes': ofSandbox,
  'POST /v1/runs/:id/processes': { ...ofSandbox, json: () => ({ command: 'true' }) },
  'GET /v1/runs/:id/processes/:process': ofSandbox,
  'DELETE /v1/runs/:id/processes/:process': ofSandbox,
  'GET /v1/runs/:id/processes/:process/output': ofSandbox,
  'POST /v1/runs/:id/processes/:process/stdin': { ...ofSandbox, body: 'content' },
  'POST /v1/runs/:id/processes/:process/signal': { ...ofSandbox, json: () => ({ signal: 'TERM' }) },
  'POST /v1/runs/:id/processes/:process/resize': { ...ofSandbox, json: () => ({ cols: 80, rows: 24 }) },
  'GET /v1/runs/:id/processes/:process/wait': ofSandbox,
  'POST /v1/runs/:id/consoles': { ...ofSandbox, json: () => ({}) },
  'GET /v1/runs/:id/consoles': ofSandbox,
  'GET /v1/runs/:id/consoles/:console': { names: 'console' },
  'DELETE /v1/runs/:id/consoles/:console': { names: 'console' },
  'POST /v1/runs/:id/consoles/:console/links': { names: 'console' },
  'GET /v1/runs/:id/consoles/:console/attach': { names: 'console', ...socket },
  'GET /v1/runs/:id/terminal': { ...ofSandbox, ...socket },
  'GET /v1/runs/:id/shell': { ...ofSandbox, ...socket },
  'GET /v1/runs/:id/sessions/:session': { names: 'session', ...socket },
  'GET /v1/runs/:id/ports': ofSandbox,
  'GET /v1/runs/:id/ports/:port': ofSandbox,
  'PUT /v1/runs/:id/ports/:port': { ...ofSandbox, json: () => ({ access: 'key' }) },
  'POST /v1/runs/:id/ports/:port/links': { ...ofSandbox, json: () => ({}) },
  'ALL /v1/runs/:id/proxy/:port/*': ofSandbox,
  'GET /v1/runs/:id/files': file,
  'GET /v1/runs/:id/files/download': file,
  'POST /v1/runs/:id/files/upload': { ...file, body: 'content' },
  'PUT /v1/runs/:id/files/upload': { ...file, body: 'content' },
  'DELETE /v1/runs/:id/files': file,
  'GET /v1/runs/:id/files/list': file,
  'GET /v1/runs/:id/files/stat': file,
  'GET /v1/runs/:id/files/exists': file,
  'POST /v1/runs/:id/files/mkdir': { ...ofSandbox, json: () => ({ path: '/a' }) },
  'POST /v1/runs/:id/files/move': { ...ofSandbox, json: () => ({ source: '/a', destination: '/b' }) },
  'POST /v1/runs/:id/files/copy': { ...ofSandbox, json: () => ({ source: '/a', destination: '/b' }) },
  'POST /v1/runs/:id/files/chmod': { ...ofSandbox, json: () => ({ path: '/a', mode: '644' }) },
  'POST /v1/runs/:id/files/chown': { ...ofSandbox, json: () => ({ path: '/a', owner: 'root' }) },
  'POST /v1/runs/:id/files/search': { ...ofSandbox, json: () => ({ path: '/a', pattern: 'x' }) },
  'GET /v1/runs/:id/files/watch': file,
  'GET /v1/runs/:id/files/archive': file,
  'PUT /v1/runs/:id/files/archive': { ...file, body: 'content' },
  'GET /v1/runs/:id/services': ofSandbox,
  'PUT /v1/runs/:id/services/:name': { ...ofSandbox, json: () => ({ cmd: 'true' }) },
  'GET /v1/runs/:id/services/:name': ofSandbox,
  'DELETE /v1/runs/:id/services/:name': ofSandbox,
  'POST /v1/runs/:id/services/:name/start': ofSandbox,
  'POST /v1/runs/:id/services/:name/stop': ofSandbox,
  'POST /v1/runs/:id/services/:name/exec': { ...ofSandbox, json: () => ({ cmd: ['true'] }) },
  'GET /v1/runs/:id/services/:name/logs': ofSandbox,
  'POST /v1/runs/:id/checkpoints': { ...ofSandbox, json: () => ({}) },
  'GET /v1/runs/:id/checkpoints': ofSandbox,
  'POST /v1/runs/:id/checkpoints/wait': { ...ofSandbox, json: () => ({ checkpoint_id: someCheckpoint }) },
  'POST /v1/runs/:id/checkpoints/:checkpoint/restore': ofSandbox,
  'DELETE /v1/runs/:id/checkpoints/:checkpoint': ofSandbox,
  'GET /v1/runs/:id/store': ofSandbox,
  'POST /v1/runs/:id/store/batch': { ...ofSandbox, json: () => ({ operations: [] }) },
  'PUT /v1/runs/:id/store/:key': { ...ofSandbox, json: () => ({ value: 1 }) },
  'GET /v1/runs/:id/store/:key': ofSandbox,
  'DELETE /v1/runs/:id/store/:key': ofSandbox,
  [`POST ${iris}/CreateSandbox`]: { ...ofAccount, json: () => ({}) },
  [`POST ${iris}/ListSandboxes`]: { ...ofAccount, json: () => ({}) },
  [`POST ${iris}/GetSandbox`]: ofIris,
  [`POST ${iris}/ForkSandbox`]: ofIris,
  [`POST ${iris}/SuspendSandbox`]: ofIris,
  [`POST ${iris}/ResumeSandbox`]: ofIris,
  [`POST ${iris}/DeleteSandbox`]: ofIris,
  [`POST ${iris}/IssueDataPlaneToken`]: ofIris,
  'GET /iii': { ...ofAccount, ...socket },
  'GET /iii/:key': { ...ofAccount, ...socket },
  'GET /iii/:key/otel': { ...ofAccount, ...socket },
  'GET /v1/snapshots': ofAccount,
  'DELETE /v1/snapshots/:snapshot': { names: 'snapshot' },
  'GET /v1/audit/key': ofAccount,
  'GET /v1/usage': ofAccount,
  'GET /v1/webhooks': ofAccount,
  'POST /v1/webhooks': { ...ofAccount, json: () => hook },
  'GET /v1/webhooks/:webhook': { names: 'webhook' },
  'DELETE /v1/webhooks/:webhook': { names: 'webhook' },
  'GET /v1/webhooks/:webhook/deliveries': { names: 'webhook' },
}

interface Row {
  readonly method: string
  readonly path: string
  readonly needs: Need
  readonly way: Way
}

const names = table
  .filter(({ access }) => access === 'key')
  .flatMap(({ methods, path }) => methods.map((method) => `${method} ${path}`))
const rows = table
  .filter(({ access }) => access === 'key')
  .flatMap(({ methods, path, needs }) =>
    methods.flatMap((method): [string, Row][] => {
      const way = ways[`${method} ${path}`]
      return way === undefined ? [] : [[`${method} ${path}`, { method, path, needs: needs ?? 'manage', way }]]
    }),
  )
const naming = rows.filter(([, { way }]) => way.names !== 'nothing')
const general = rows.filter(([, { way }]) => way.names === 'nothing')

const unknown: Ids = {
  sandbox: `run${'a'.repeat(26)}`,
  snapshot: `snap${'a'.repeat(26)}`,
  webhook: `hook${'a'.repeat(26)}`,
  console: `con${'a'.repeat(26)}`,
  session: `con${'a'.repeat(26)}`,
  image: `img${'a'.repeat(26)}`,
}
const may: Readonly<Record<Scope, readonly Need[]>> = {
  full: ['read', 'use', 'manage'],
  'read-only': ['read'],
  'exec-only': ['read', 'use'],
}

function request({ method, path, way }: Row, ids: Ids, key: string): [string, Ask] {
  const headers = way.headers === undefined ? {} : { headers: way.headers }
  const real = path
    .replace(':id', ids.sandbox)
    .replace(':snapshot', ids.snapshot)
    .replace(':webhook', ids.webhook)
    .replace(':image', ids.image)
    .replace(':process', someProcess.id)
    .replace(':name', someService.name)
    .replace(':checkpoint', someCheckpoint)
    .replace(':key', 'some-key')
    .replace(':console', ids.console)
    .replace(':session', ids.session)
    .replace(':port/*', ':port/')
    .replace(':port', '8080')
  const content = way.json === undefined ? {} : { json: way.json(ids) }
  return [
    `${real}${way.query ?? ''}`,
    {
      method: method === 'ALL' ? 'PROPFIND' : method,
      key,
      ...headers,
      ...content,
      ...(way.body === undefined ? {} : { body: way.body }),
    },
  ]
}

/** Status and body, without what differs from one answer to the next. */
async function said(row: Row, ids: Ids, key: string): Promise<{ status: number; text: string }> {
  const response = await ask(...request(row, ids, key))
  const text = await response.text()
  return { status: response.status, text: text.replace(/"req[a-z2-7]{26}"/, '""') }
}

/** The status itself where it tells of success. */
function succeeded(status: number): number {
  return status < 300 ? status : 200
}

/** How many calls came that somebody made: a console follows its process by itself. */
const asked = () =>
  runner.calls.filter((call) => call.op !== 'guest.request' || !call.path.startsWith('/processes/attach')).length

let runner: ScriptedRunner
let owner: Tenant
let stranger: string
let abroad: string
/** What the owner has and no test may end. */
let kept: Ids
const scoped = new Map<Scope, string>()

const makeKey = (json: object) =>
  answer<Key & { key: string }>(`/admin/accounts/${owner.account}/keys`, {
    key: adminKey,
    json: { region: 'local', ...json },
  })

beforeAll(async () => {
  const command = { exit_code: 0, stdout: '', stderr: '', timed_out: false, duration_ms: 1 }
  const guest = {
    ...{
      truncated: false,
      deeper: false,
      exists: false,
      ok: true,
      deleted: true,
      bytes: 0,
      matches: [],
      files_searched: 0,
    },
    ...someStat,
    ...command,
    ...someProcess,
    ...someService,
    exit_code: 0,
    processes: [],
    ports: [],
  }
  /** Some answers are lists, and one field is of two kinds. */
  const answerTo = (path: string) => {
    if (path === '/services') return []
    return { ...guest, entries: path.startsWith('/files/archive') ? 0 : [] }
  }
  const named = { 'Portico-Process': someProcess.id }
  runner = await ScriptedRunner.start({
    'guest.request': (call, stream) => {
      if (!/^\/(services\/logs|files\/watch)/.test(call.path))
        return guestAnswers(stream, 200, answerTo(call.path), named)
      // Of these an empty answer is a whole one.
      accept(stream, { status: 200, headers: {} })
      stream.end()
    },
  })
  const plenty = { free_slots: 1000, vcpus: 1000, free_vcpus: 1000, free_mem_mib: 1_000_000, total_mem_mib: 1_000_000 }
  await runner.report(plenty)
  owner = await newTenant()
  stranger = (await newTenant()).key
  abroad = (await makeKey({ region: 'eu' })).key
  for (const scope of keyScopes) scoped.set(scope, (await makeKey({ scope })).key)
  kept = await belongings()
})
afterAll(() => runner.cut())

/** Makes what the owner has. */
async function belongings(): Promise<Ids> {
  const sandbox = await newSandbox()
  await ask(`/v1/runs/${sandbox}/store/some-key`, { method: 'PUT', key: owner.key, json: { value: 1 } })
  const inside = { console: await newConsole(sandbox), session: await newSession(sandbox) }
  const beside = { webhook: await newWebhook(), image: await newImage() }
  return { sandbox, ...inside, snapshot: await newSnapshot(sandbox), ...beside }
}

/** What a row is called about: fresh where the call may end it. */
async function idsFor({ needs, way }: Row): Promise<Ids> {
  if (needs === 'read' || way.names === 'nothing') return kept
  if (way.names === 'webhook') return { ...kept, webhook: await newWebhook() }
  if (way.names === 'image') return { ...kept, image: await newImage() }
  const sandbox = await newSandbox()
  if (way.names === 'console') return { ...kept, sandbox, console: await newConsole(sandbox) }
  if (way.names === 'session') return { ...kept, sandbox, session: await newSession(sandbox) }
  return way.names === 'sandbox' ? { ...kept, sandbox } : { ...kept, sandbox, snapshot: await newSnapshot(sandbox) }
}

async function newSandbox(): Promise<string> {
  return (await answer<RunRecord>('/v1/runs', { key: owner.key, json: { image: 'python', mem_mib: 128 } })).id
}

async function newConsole(sandbox: string): Promise<string> {
  return (await answer<{ id: string }>(`/v1/runs/${sandbox}/consoles`, { key: owner.key, json: {} })).id
}

/** A shell's, which its first frame tells. */
async function newSession(sandbox: string): Promise<string> {
  const { webSocket } = await ask(`/v1/runs/${sandbox}/shell`, { key: owner.key, headers: { upgrade: 'websocket' } })
  const first = new Promise<string>((resolve) => {
    webSocket?.addEventListener('message', ({ data }) => resolve(String(data)), { once: true })
  })
  webSocket?.accept()
  const { id } = JSON.parse(await first) as { id: string }
  webSocket?.close(1000, '')
  return id
}

async function newSnapshot(sandbox: string): Promise<string> {
  const path = `/v1/runs/${sandbox}/snapshot`
  return (await answer<SnapshotResponse>(path, { method: 'POST', key: owner.key })).snapshot_id
}

async function newWebhook(): Promise<string> {
  return (await answer<{ id: string }>('/v1/webhooks', { key: owner.key, json: hook })).id
}

/** Ready, and of a reference of its own, as a newer one of the same takes its place. */
async function newImage(): Promise<string> {
  const json = { reference: `alpine:${crypto.randomUUID()}` }
  const { id } = await answer<{ id: string }>('/v1/images', { key: owner.key, json })
  expect(await (await ask(`/v1/images/${id}/events`, { key: owner.key })).text()).toContain('event: ready')
  return id
}

test('every row that takes a key says here how it is called, and nothing else does', () => {
  expect(Object.keys(ways).toSorted()).toEqual(names.toSorted())
})

describe('a row that names something', () => {
  test.each(naming)('%s answers whoever does not own it as if it had never been', async (_name, row) => {
    const ids = await idsFor(row)
    const before = asked()
    // Webhooks are of the account in all of its regions.
    for (const key of row.way.names === 'webhook' ? [stranger] : [stranger, abroad]) {
      const foreign = await said(row, ids, key)
      expect(foreign).toEqual(await said(row, unknown, key))
      expect(foreign.status).toBe(404)
      for (const id of Object.values(ids)) expect(foreign.text).not.toContain(id)
    }
    expect(asked()).toBe(before)
    expect((await said(row, ids, owner.key)).status).toBeLessThan(300)
  })
})

describe('a row about the account', () => {
  test.each(general)('%s tells each account of itself alone', async (_name, row) => {
    const ids = await idsFor(row)
    for (const key of [stranger, abroad]) {
      const { text } = await said(row, ids, key)
      const hidden = key === abroad ? [ids.sandbox, ids.snapshot, ids.image] : Object.values(ids)
      for (const id of hidden) expect(text).not.toContain(id)
    }
    expect((await said(row, ids, owner.key)).status).toBeLessThan(300)
  })
})

describe('a key of the owner', () => {
  test.each(rows)('for %s needs a scope that allows it', async (_name, row) => {
    for (const scope of keyScopes) {
      const key = scoped.get(scope) ?? ''
      const isAllowed = may[scope].includes(row.needs)
      const { status, text } = await said(row, isAllowed ? await idsFor(row) : kept, key)
      expect(status, `${scope}: ${text}`).toBe(isAllowed ? succeeded(status) : 403)
      if (isAllowed) continue
      const says = expect.stringContaining(scope)
      const told = row.path.startsWith(iris)
        ? { code: 'permission_denied', message: says }
        : { code: 'forbidden', error: says }
      expect(JSON.parse(text), scope).toMatchObject(told)
      expect({ status, text }).toEqual(await said(row, unknown, key))
    }
  })

  test.each(rows)('for %s is no key once it is revoked or has expired', async (_name, row) => {
    const revoked = await makeKey({})
    await answer(`/admin/accounts/${owner.account}/keys/${revoked.id}`, { method: 'DELETE', key: adminKey })
    const gone = await said(row, kept, revoked.key)
    expect(gone).toEqual(await said(row, unknown, revoked.key))
    expect(gone.status).toBe(401)
    const { key } = await makeKey({ expires_in: 60 })
    const later = buildApp(table, new FakeClock(Date.now() + 61_000))
    const [path, { method, json, body, headers = {} }] = request(row, kept, key)
    const content = json === undefined ? body : JSON.stringify(json)
    const expired = await later.request(
      `http://portico.test${path}`,
      {
        ...(method === undefined ? {} : { method }),
        headers: {
          ...headers,
          ...(json === undefined ? {} : { 'content-type': 'application/json' }),
          authorization: `Bearer ${key}`,
        },
        ...(content === undefined ? {} : { body: content }),
      },
      env,
    )
    expect(expired.status).toBe(401)
    expect(await expired.text()).toContain('has expired')
  })
})
