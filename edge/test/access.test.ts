/** Who may enter where: every row of the route table against every wrong way in. */

import { env } from 'cloudflare:workers'
import { FakeClock } from '@portico/shared/clock'
import { newAccountId, newRunnerId } from '@portico/shared/ids'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { buildApp } from '../src/app.ts'
import { formatToken, makeSigner, newKeySerial } from '../src/auth/tokens.ts'
import { none, type Row, row } from '../src/routes/row.ts'
import { table } from '../src/routes/table.ts'
import { type Ask, adminKey, answer, ask, newTenant, read, refusal, type Tenant } from './client.ts'
import { someCheckpoint, someProcess } from './guest-scene.ts'
import { enrol, ScriptedRunner } from './scripted-runner.ts'

const secret = 'a secret of the tests alone, longer than thirty-two bytes'

interface Way {
  readonly row: Row
  readonly method: string
}

/** Each method of each row. */
const ways: Way[] = table.flatMap((entry) => entry.methods.map((method) => ({ row: entry, method })))
const named = (chosen: Way[]) => chosen.map((way) => [way.method, way.row.path, way] as const)
// What speaks another protocol refuses in its own words: its own tests have the same wrong keys.
const guarded = ways.filter(({ row: { access, protocol } }) => access !== 'public' && protocol === undefined)
const withSandbox = ways.filter(({ row: { path } }) => path.startsWith('/v1/runs/:id'))

/** Something for each row that takes JSON. */
const usualBody = {
  ...{ command: 'true', timeout: 1, region: 'local', name: 'x', signal: 'TERM', cols: 80, rows: 24 },
  ...{ path: '/a', source: '/a', destination: '/b', mode: '644', owner: 'root', pattern: 'x' },
  ...{ checkpoint_id: someCheckpoint, value: 1, operations: [], cmd: 'true' },
}

/** A request that its row would take, but for who sends it. */
function request({ row: { path, body }, method }: Way, id: string, more: Ask): [string, Ask] {
  const real = path
    .replace(':id', id)
    .replace(':key', 'aaaaaaaaaa')
    .replace(':snapshot', `snap${'a'.repeat(26)}`)
    .replace(':process', someProcess.id)
    .replace(':name', 'web')
    .replace(':checkpoint', someCheckpoint)
    .replace(':port/*', '8080/')
    .replace(':port', '8080')
  const special = path.endsWith('/services/:name/exec') ? { ...usualBody, cmd: ['true'] } : usualBody
  const json = path.endsWith('/ports/:port') ? { access: 'key' } : special
  const content = body.kind === 'json' ? { json } : {}
  const bytes = body.kind === 'stream' ? { body: 'content' } : {}
  return [
    `${real}?path=/etc/hostname`,
    { method: method === 'ALL' ? 'PROPFIND' : method, ...content, ...bytes, ...more },
  ]
}

const someSandbox = `run${'a'.repeat(26)}`

async function forged(kind: 'key' | 'runner', region: string, signedWith: string): Promise<string> {
  const id = kind === 'key' ? `${newAccountId()}${newKeySerial()}` : newRunnerId()
  return formatToken(await (await makeSigner(signedWith, kind)).sign(region, id))
}

afterEach(() => ScriptedRunner.cutAll())

describe('the table', () => {
  test('a row without an access rule does not compile', () => {
    // @ts-expect-error: access is missing
    row({ path: '/x', methods: ['GET'], body: none, handle: () => new Response() })
    // @ts-expect-error: there is no such rule
    row({ path: '/x', methods: ['GET'], access: 'anybody', body: none, handle: () => new Response() })
    expect(table.every(({ access }) => ['public', 'key', 'admin', 'runner'].includes(access))).toBe(true)
  })

  test('has nothing public but what is the same for everybody: the health check, the web page, the public halves of the signing keys, that a method does not exist, telemetry that is dropped, and channels, whose own keys open them', () => {
    expect(ways.filter(({ row: { access } }) => access === 'public').map(({ row: { path } }) => path)).toEqual([
      '/healthz',
      '/',
      '/console',
      '/console/',
      '/console/assets/:file',
      '/iris.public.v1.SandboxService/:method',
      '/iii/otel',
      '/iii/ws/channels/:channel',
      '/iii/:key/ws/channels/:channel',
      '/.well-known/jwks.json',
    ])
  })
})

describe('every guarded row', () => {
  let tenant: Tenant
  let runnerToken: string

  beforeAll(async () => {
    tenant = await newTenant()
    runnerToken = (await enrol()).token
  })

  test.each(named(guarded))(
    '%s %s refuses who sends no key, nonsense, or the key of another door',
    async (_m, _p, way) => {
      const { access } = way.row
      const others = { key: [adminKey, runnerToken], admin: [tenant.key, runnerToken], runner: [tenant.key, adminKey] }
      const wrong = [
        undefined,
        'nonsense',
        'portico_live_local_a_b',
        ...(access === 'public' || access === 'sandbox-token' ? [] : others[access]),
      ]
      for (const key of wrong) {
        const refused = await refusal(...request(way, someSandbox, key === undefined ? {} : { key }))
        expect(refused, String(key)).toMatchObject({ status: 401, code: 'unauthorized', retryable: false })
      }
    },
  )

  test.each(named(guarded.filter(({ row: { access } }) => access !== 'admin')))(
    '%s %s refuses tokens that are forged, changed, never issued, or of a region that is not served',
    async (_m, _p, way) => {
      const kind = way.row.access === 'key' ? 'key' : 'runner'
      const real = kind === 'key' ? tenant.key : runnerToken
      const changed = real.replace(/.$/, (last) => (last === 'a' ? 'e' : 'a'))
      const elsewhere = real.replace('_local_', '_eu_')
      for (const key of [
        changed,
        elsewhere,
        await forged(kind, 'local', `${secret}!`),
        await forged(kind, 'local', secret),
      ]) {
        expect(await refusal(...request(way, someSandbox, { key })), key).toMatchObject({ status: 401 })
      }
      const away = await refusal(...request(way, someSandbox, { key: await forged(kind, 'mars', secret) }))
      expect(away).toMatchObject({ status: 403, code: 'forbidden' })
    },
  )
})

describe('a sandbox of somebody else', () => {
  test.each(named(withSandbox))('%s %s answers as if it had never been', async (_m, _p, way) => {
    const runner = await ScriptedRunner.start()
    const owner = await newTenant()
    const { id } = await answer<{ id: string }>('/v1/runs', { key: owner.key, json: { image: 'python' } })
    await refusal(`/v1/runs/${id}/files/download?path=/x`, { key: owner.key })
    const { key: abroad } = await answer<{ key: string }>(`/admin/accounts/${owner.account}/keys`, {
      key: adminKey,
      json: { region: 'eu' },
    })
    const before = runner.calls.length
    for (const key of [(await newTenant()).key, abroad]) {
      const foreign = await refusal(...request(way, id, { key }))
      const never = await refusal(...request(way, someSandbox, { key }))
      const nonsense = await refusal(...request(way, 'run-x', { key }))
      for (const refused of [foreign, never, nonsense]) {
        const { request_id: _own, ...same } = refused
        const { request_id: _other, ...expected } = never
        expect(same).toEqual(expected)
        expect(same).toMatchObject({ status: 404, code: 'sandbox_not_found' })
      }
    }
    expect(runner.calls.length).toBe(before)
    expect(await answer(`/v1/runs/${id}`, { key: owner.key })).toMatchObject({ id, status: 'running' })
  })
})

describe('a revoked key', () => {
  test('is refused at once by who had not seen it, and after 10 s by who had', async () => {
    const clock = new FakeClock(Date.now())
    const app = buildApp(table, clock)
    const { account, key } = await newTenant()
    const list = (from = app) =>
      from.request('http://portico.test/v1/runs', { headers: { authorization: `Bearer ${key}` } }, env)
    expect((await list()).status).toBe(200)
    const [{ id }] = (await answer<{ keys: [{ id: string }] }>(`/admin/accounts/${account}/keys`, { key: adminKey }))
      .keys
    const revoked = await answer(`/admin/accounts/${account}/keys/${id}`, { method: 'DELETE', key: adminKey })
    expect(revoked).toMatchObject({ id, revoked_at: expect.stringMatching(/^\d{4}-/) })
    expect((await list(buildApp(table, clock))).status).toBe(401)
    await clock.advance(9_999)
    expect((await list()).status).toBe(200)
    await clock.advance(1)
    expect((await list()).status).toBe(401)
    const again = await answer(`/admin/accounts/${account}/keys/${id}`, { method: 'DELETE', key: adminKey })
    expect(again).toEqual(revoked)
  })
})

describe('paths and methods', () => {
  test('an unknown path is a 404 in JSON', async () => {
    for (const path of ['/', '/v2/nothing', '/v1/runs/', '/admin', `/v1/runs/${someSandbox}/nothing`]) {
      expect(await refusal(path)).toMatchObject({ status: 404, code: 'not_found' })
    }
  })

  test('a path that cannot be decoded names nothing', async () => {
    const { key } = await newTenant()
    for (const path of ['/v1/runs/%E0%A4%A', '/v1/runs/%00', '/v1/runs/..%2f..', '/v1/runs/%']) {
      expect(await refusal(path, { key })).toMatchObject({ status: 404 })
    }
  })

  test.each([
    ['/healthz', 'GET, HEAD'],
    ['/v1/runs', 'GET, HEAD, POST'],
    [`/v1/runs/${someSandbox}`, 'GET, HEAD, PATCH, DELETE'],
    [`/v1/runs/${someSandbox}/files/upload`, 'POST, PUT'],
    ['/v1/runs/restore', 'POST'],
    [`/v1/runs/${someSandbox}/fork`, 'POST'],
    [`/v1/snapshots/snap${'a'.repeat(26)}`, 'DELETE'],
    ['/admin/accounts', 'GET, HEAD, POST'],
  ])('%s takes %s and nothing else', async (path, allow) => {
    const response = await ask(path, { method: 'PROPFIND' })
    expect(response.headers.get('allow')).toBe(allow)
    expect(await read(response)).toMatchObject({ status: 405, code: 'method_not_allowed' })
  })

  test('HEAD answers as GET does, without a body', async () => {
    const response = await ask('/healthz', { method: 'HEAD' })
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('')
    expect(response.headers.get('x-request-id')).toMatch(/^req[a-z2-7]{26}$/)
    expect((await ask('/v1/runs', { method: 'HEAD' })).status).toBe(401)
  })

  test('every answer has an id of its own', async () => {
    const ids = await Promise.all([1, 2, 3].map(async () => (await ask('/healthz')).headers.get('x-request-id')))
    expect(new Set(ids).size).toBe(3)
  })
})

describe('the operator', () => {
  test('opens accounts, lists them and their keys, and never sees a key again', async () => {
    const { id } = await answer<{ id: string }>('/admin/accounts', { key: adminKey, json: { name: ' Ada ' } })
    const made = await answer<{ id: string; key: string }>(`/admin/accounts/${id}/keys`, {
      key: adminKey,
      json: { region: 'eu', name: 'laptop' },
    })
    expect(made.key).toMatch(new RegExp(`^portico_live_eu_${id}${made.id}_[a-z2-7]{52}$`))
    const { accounts } = await answer<{ accounts: object[] }>('/admin/accounts', { key: adminKey })
    expect(accounts).toContainEqual({ id, name: 'Ada', created_at: expect.any(String) })
    const listing = await ask(`/admin/accounts/${id}/keys`, { key: adminKey })
    const text = await listing.text()
    expect(JSON.parse(text)).toEqual({
      keys: [
        {
          id: made.id,
          region: 'eu',
          name: 'laptop',
          scope: 'full',
          created_at: expect.any(String),
          expires_at: null,
          last_used_at: null,
          revoked_at: null,
        },
      ],
    })
    expect(text).not.toContain(made.key.slice(-52))
  })

  test('is told of accounts, keys and regions that do not exist', async () => {
    const { account } = await newTenant()
    const unknown = newAccountId()
    expect(await refusal(`/admin/accounts/${unknown}/keys`, { key: adminKey })).toMatchObject({ status: 404 })
    expect(
      await refusal(`/admin/accounts/${unknown}/keys`, { key: adminKey, json: { region: 'local' } }),
    ).toMatchObject({ status: 404, code: 'not_found' })
    expect(
      await refusal(`/admin/accounts/${account}/keys/aaaaaaaaaa`, { method: 'DELETE', key: adminKey }),
    ).toMatchObject({ status: 404 })
    const mars = await refusal('/admin/runners', { key: adminKey, json: { region: 'mars' } })
    expect(mars).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(mars.error).toContain('local, eu')
  })

  test('sees runners of all regions, connected or not', async () => {
    const idle = await enrol('eu')
    const runner = await ScriptedRunner.start()
    const { runners } = await answer<{ runners: { id: string }[] }>('/admin/runners', { key: adminKey })
    expect(runners.find(({ id }) => id === idle.id)).toMatchObject({ region: 'eu', connected: false, version: null })
    expect(runners.find(({ id }) => id === runner.id)).toMatchObject({
      connected: true,
      draining: false,
      accelerator: 'tcg',
      free_slots: 8,
      free_mem_mib: 8192,
    })
    expect(JSON.stringify(runners)).not.toContain('hash')
  })
})

describe('the tunnel', () => {
  test('needs an upgrade', async () => {
    const { token } = await enrol()
    expect(await refusal('/v1/runner/tunnel', { key: token })).toMatchObject({ status: 400, code: 'invalid_request' })
  })

  test('is opened with a request id, after the token was checked', async () => {
    const { token } = await enrol()
    const open = await ask('/v1/runner/tunnel', { key: token, headers: { upgrade: 'websocket' } })
    expect(open.status).toBe(101)
    expect(open.headers.get('x-request-id')).toMatch(/^req/)
    open.webSocket?.accept()
    open.webSocket?.close()
    const refused = await ask('/v1/runner/tunnel', { key: `${token}a`, headers: { upgrade: 'websocket' } })
    expect(refused.webSocket).toBeNull()
    expect(refused.status).toBe(401)
  })
})

describe('the log', () => {
  test('has a line for each change, with who and what, and never a key', async () => {
    const lines: string[] = []
    const log = vi.spyOn(console, 'log').mockImplementation((line) => void lines.push(String(line)))
    const { account, key } = await newTenant()
    await ask('/healthz')
    await ask(`/v1/runs/${someSandbox}`, { key })
    const response = await ask(`/v1/runs/${someSandbox}?path=/secret`, { method: 'DELETE', key })
    log.mockRestore()
    const written = lines.map((line) => JSON.parse(line))
    expect(written).toHaveLength(3)
    expect(written.at(-1)).toEqual({
      event: 'request',
      request_id: response.headers.get('x-request-id'),
      method: 'DELETE',
      route: '/v1/runs/:id',
      status: 404,
      ms: expect.any(Number),
      code: 'sandbox_not_found',
      account,
      region: 'local',
      sandbox: someSandbox,
    })
    for (const secretText of [key, key.slice(-52), adminKey, '/secret']) expect(lines.join()).not.toContain(secretText)
  })
})
