/** The Iris gateway on the wire: methods, both spellings, states, tokens, and errors as Connect has them. */

import { env } from 'cloudflare:workers'
import {
  type IrisSandbox,
  type IrisSandboxWithToken,
  type IrisToken,
  imageRecord,
  type RunRecord,
} from '@portico/shared/api'
import { errorCodes } from '@portico/shared/errors'
import { decodeJwt } from 'jose'
import { beforeEach, describe, expect, test } from 'vitest'
import { buildApp } from '../src/app.ts'
import { connectCodeOf } from '../src/iris/connect-errors.ts'
import { table } from '../src/routes/table.ts'
import { adminKey, answer, newTenant } from './client.ts'
import { guest } from './image-scene.ts'
import { callGateway, gatewayAnswer, gatewayRefusal, newIris } from './iris-scene.ts'
import { RunnerScene } from './runner-scene.ts'
import { refusing } from './scripted-runner.ts'

const scene = new RunnerScene()
const methods = table.flatMap(({ access, path, protocol }) =>
  protocol === 'connect' && access === 'key' ? [path.split('/').at(-1) ?? ''] : [],
)
const never = `sb_${'a'.repeat(26)}`
const ask = <Answer>(method: string, message: object = {}) => gatewayAnswer<Answer>(method, message, scene.tenant.key)
const refused = async (method: string, message: object = {}, key = scene.tenant.key) =>
  gatewayRefusal(await callGateway(method, message, { key }))
const listed = async () => (await ask<{ sandboxes: IrisSandbox[] }>('ListSandboxes')).sandboxes
const makeKey = (json: object) =>
  answer<{ key: string }>(`/admin/accounts/${scene.tenant.account}/keys`, {
    key: adminKey,
    json: { region: 'local', ...json },
  })
const ours = (id: string) => id.replace('sb_', 'run')

describe('a sandbox of the gateway', () => {
  test('is created with a name and a token, and is a run like any other', async () => {
    const runner = await scene.connected()
    const { sandbox, ...token } = await newIris(scene.tenant.key, { name: 'my-agent' })
    expect(sandbox).toEqual({
      id: expect.stringMatching(/^sb_[a-z2-7]{26}$/),
      name: 'my-agent',
      domain: `${ours(sandbox.id)}.sandbox.localhost:8787`,
      state: 'running',
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    })
    const { data_plane_token, data_plane_token_expires_at_unix: end } = token
    const { account } = scene.tenant
    const claims = decodeJwt(data_plane_token)
    expect(claims).toMatchObject({
      iss: 'portico',
      aud: 'portico-data-plane',
      sub: sandbox.id,
      account,
      region: 'local',
      exp: end,
    })
    expect(end - (claims.iat ?? 0)).toBe(3600)
    const record = await scene.record(ours(sandbox.id))
    expect(record).toMatchObject({ name: 'my-agent', image: 'python', timeout: 0, status: 'running' })
    const created = runner.calls.find((call) => call.op === 'sandbox.create')
    expect(created).toMatchObject({ spec: { image: 'python', idle_timeout: 0 } })
  })

  test('is of the image that the deployment says', async () => {
    await scene.connected()
    const app = buildApp()
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${scene.tenant.key}` }
    const url = 'http://portico.test/iris.public.v1.SandboxService/CreateSandbox'
    const made = await app.request(url, { method: 'POST', headers, body: '{}' }, { ...env, IRIS_IMAGE: 'node' })
    const { sandbox } = await made.json<IrisSandboxWithToken>()
    expect(await scene.record(ours(sandbox.id))).toMatchObject({ image: 'node' })
    expect(sandbox.name).toBe('')
  })

  test('is made of an image of the account`s own with the machine that this was built with', async () => {
    await scene.connected(guest())
    const call = { key: scene.tenant.key }
    const { id } = imageRecord.parse(await answer('/v1/images', { ...call, json: { name: 'app', mem_mib: 512 } }))
    await expect.poll(() => answer(`/v1/images/${id}`, call)).toMatchObject({ status: 'ready' })
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${scene.tenant.key}` }
    const url = 'http://portico.test/iris.public.v1.SandboxService/CreateSandbox'
    const made = await buildApp().request(url, { method: 'POST', headers, body: '{}' }, { ...env, IRIS_IMAGE: 'app' })
    const { sandbox } = await made.json<IrisSandboxWithToken>()
    expect(await scene.record(ours(sandbox.id))).toMatchObject({ image: 'app', mem_mib: 512 })
  })

  test('is suspended, resumed and deleted, each also when it is so already', async () => {
    const runner = await scene.connected()
    const { sandbox } = await newIris(scene.tenant.key)
    const of = { sandbox_id: sandbox.id }
    for (const _ of [1, 2])
      expect(await ask('SuspendSandbox', of)).toEqual({ sandbox: { ...sandbox, state: 'suspended' } })
    expect(runner.count('sandbox.hibernate')).toBe(1)
    expect(await ask('GetSandbox', of)).toEqual({ sandbox: { ...sandbox, state: 'suspended' } })
    for (const _ of [1, 2]) {
      const resumed = await ask<IrisSandboxWithToken>('ResumeSandbox', of)
      expect(resumed.sandbox).toEqual(sandbox)
      expect(decodeJwt(resumed.data_plane_token).sub).toBe(sandbox.id)
    }
    expect(runner.count('sandbox.resume')).toBe(1)
    for (const _ of [1, 2]) expect(await ask('DeleteSandbox', of)).toEqual({})
    expect(await listed()).toEqual([])
    for (const method of ['GetSandbox', 'SuspendSandbox', 'ResumeSandbox', 'ForkSandbox', 'IssueDataPlaneToken']) {
      expect(await refused(method, of), method).toMatchObject({ status: 404, code: 'not_found' })
    }
  })

  test('is forked under a name, and the child has a token of its own', async () => {
    await scene.connected()
    const { sandbox } = await newIris(scene.tenant.key, { name: 'parent' })
    const child = await ask<IrisSandboxWithToken>('ForkSandbox', { sandbox_id: sandbox.id, name: 'child' })
    expect(child.sandbox).toMatchObject({ name: 'child', state: 'running' })
    expect(child.sandbox.id).not.toBe(sandbox.id)
    expect(decodeJwt(child.data_plane_token).sub).toBe(child.sandbox.id)
    expect(await scene.record(ours(child.sandbox.id))).toMatchObject({ forked_from: ours(sandbox.id), name: 'child' })
    const other = await ask<IrisSandboxWithToken>('ForkSandbox', { sandbox_id: sandbox.id })
    expect(other.sandbox.name).toBe('')
    expect((await listed()).map(({ id }) => id).toSorted()).toEqual(
      [sandbox.id, child.sandbox.id, other.sandbox.id].toSorted(),
    )
  })

  test('is listed with all others, those of the other surface too, beyond one page', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const { sandbox } = await newIris(scene.tenant.key)
    expect((await listed()).map((one) => one.id)).toEqual([sandbox.id, id.replace('run', 'sb_')])
    const account = env.ACCOUNTS.get(env.ACCOUNTS.idFromName(scene.tenant.account)) as unknown as {
      index(entry: object): Promise<void>
    }
    const record: RunRecord = await scene.record(id)
    const letters = 'abcdefghijklmnopqrstuvwxyz234567'
    for (let at = 0; at < 1001; at++) {
      const digits = [at >> 10, (at >> 5) & 31, at & 31].map((digit) => letters[digit]).join('')
      const copy = { ...record, id: `run${digits}${'a'.repeat(23)}` }
      const rest = { createdAt: at, endedAt: null, usage: null, runningSince: null, happenings: [] }
      await account.index({ version: 1, state: 'running', record: copy, ...rest })
    }
    expect(new Set((await listed()).map((one) => one.id)).size).toBe(1003)
  })

  test('of an Idempotency-Key is made once, and each answer brings a fresh token', async () => {
    const runner = await scene.connected()
    const headers = { 'idempotency-key': 'once' }
    const { key } = scene.tenant
    const make = async () =>
      (await callGateway('CreateSandbox', { name: 'x' }, { key, headers })).json<IrisSandboxWithToken>()
    const [first, again] = [await make(), await make()]
    expect(again.sandbox.id).toBe(first.sandbox.id)
    expect(decodeJwt(again.data_plane_token).sub).toBe(first.sandbox.id)
    expect(runner.count('sandbox.create')).toBe(1)
    const other = await newIris(key)
    const forked = async (sandbox_id: string) =>
      callGateway('ForkSandbox', { sandbox_id }, { key, headers: { 'idempotency-key': 'fork' } })
    expect((await forked(first.sandbox.id)).status).toBe(200)
    expect(await gatewayRefusal(await forked(other.sandbox.id))).toMatchObject({
      status: 400,
      code: 'failed_precondition',
    })
  })
})

describe('a token', () => {
  test('is issued for as long as it is asked for, within a minute and a day', async () => {
    await scene.connected()
    const { sandbox } = await newIris(scene.tenant.key)
    const life = async (message: object) => {
      const issued = await ask<IrisToken>('IssueDataPlaneToken', { sandboxId: sandbox.id, ...message })
      const { iat = 0, exp } = decodeJwt(issued.data_plane_token)
      expect(exp).toBe(issued.data_plane_token_expires_at_unix)
      return (exp ?? 0) - iat
    }
    expect(await life({})).toBe(3600)
    expect(await life({ ttl_seconds: 60 })).toBe(60)
    expect(await life({ ttlSeconds: '86400' })).toBe(86_400)
    expect(await life({ ttlSeconds: 0 })).toBe(3600)
    for (const ttl_seconds of [59, 86_401, -1, 60.5, 'x']) {
      const wrong = await refused('IssueDataPlaneToken', { sandbox_id: sandbox.id, ttl_seconds })
      expect(wrong, String(ttl_seconds)).toMatchObject({ status: 400, code: 'invalid_argument' })
      expect(wrong.message).toContain('ttl_seconds')
    }
  })

  test('is issued for a key that may work inside, not for one that may only look', async () => {
    await scene.connected()
    const { sandbox } = await newIris(scene.tenant.key)
    const of = { sandbox_id: sandbox.id }
    const [looks, works] = [await makeKey({ scope: 'read-only' }), await makeKey({ scope: 'exec-only' })]
    expect(await refused('IssueDataPlaneToken', of, looks.key)).toMatchObject({
      status: 403,
      code: 'permission_denied',
    })
    expect((await callGateway('IssueDataPlaneToken', of, works)).status).toBe(200)
    expect(await refused('DeleteSandbox', of, works.key)).toMatchObject({ status: 403, code: 'permission_denied' })
  })
})

describe('a message', () => {
  test.each([
    ['sandbox_id', 'their own spelling'],
    ['sandboxId', "protobuf's"],
  ])('is read with %s, %s', async (field) => {
    await scene.connected()
    const { sandbox } = await newIris(scene.tenant.key)
    expect(await ask('GetSandbox', { [field]: sandbox.id, unknownField: { a: 1 } })).toEqual({ sandbox })
  })

  test.each(['', 'x', never, `run${'a'.repeat(26)}`, `sb_${'a'.repeat(27)}`, '../../v1'])(
    'that names %j names nothing',
    async (sandbox_id) => {
      const wrong = await refused('GetSandbox', { sandbox_id })
      if (sandbox_id === '') expect(wrong).toMatchObject({ status: 400, code: 'invalid_argument' })
      else expect(wrong).toMatchObject({ status: 404, code: 'not_found' })
    },
  )

  test.each([
    ['{', /line 1/],
    ['[]', /body/],
    ['{"name":5}', /name/],
    [`{"name":"${'x'.repeat(129)}"}`, /name/],
  ])('of %.20s is an invalid argument', async (body, says) => {
    const wrong = await gatewayRefusal(await callGateway('CreateSandbox', {}, { key: scene.tenant.key, body }))
    expect(wrong).toMatchObject({ status: 400, code: 'invalid_argument', message: expect.stringMatching(says) })
  })

  test('may leave a name out in any way that protobuf has', async () => {
    await scene.connected()
    for (const message of [{ name: null }, { name: '' }, {}]) {
      expect((await newIris(scene.tenant.key, message)).sandbox.name).toBe('')
    }
  })
})

describe('Connect', () => {
  test.each(methods)('%s takes POST and JSON alone', async (method) => {
    const { key } = scene.tenant
    for (const verb of ['GET', 'PUT', 'OPTIONS']) {
      const response = await callGateway(method, {}, { key, method: verb })
      expect(response.headers.get('allow'), verb).toBe('POST')
      expect(await gatewayRefusal(response)).toMatchObject({ status: 405, code: 'unimplemented' })
    }
    for (const type of ['application/proto', 'text/plain', 'application/connect+json', '']) {
      const response = await callGateway(method, {}, { key, headers: { 'content-type': type } })
      expect(response.headers.get('accept-post'), type).toBe('application/json')
      expect(await gatewayRefusal(response)).toMatchObject({ status: 415 })
    }
  })

  test.each(methods)('%s needs a key of an account', async (method) => {
    const { key } = await makeKey({ expires_in: 1 })
    for (const wrong of [undefined, 'nonsense', adminKey, scene.enrolled.token, `${key}a`]) {
      const response = await callGateway(method, {}, wrong === undefined ? {} : { key: wrong })
      expect(response.headers.get('www-authenticate')).toBe('Bearer')
      expect(await gatewayRefusal(response)).toMatchObject({ status: 401, code: 'unauthenticated' })
    }
  })

  test('is spoken in any spelling of its content type, with and without its version', async () => {
    const { key } = scene.tenant
    for (const headers of [
      { 'content-type': 'Application/JSON; charset=utf-8' },
      { 'connect-protocol-version': '1', 'accept-encoding': 'gzip', 'connect-timeout-ms': '5000' },
    ]) {
      expect(await (await callGateway('ListSandboxes', {}, { key, headers })).json()).toEqual({ sandboxes: [] })
    }
    const two = await callGateway('ListSandboxes', {}, { key, headers: { 'connect-protocol-version': '2' } })
    expect(await gatewayRefusal(two)).toMatchObject({ status: 400, code: 'invalid_argument' })
    const packed = await callGateway('ListSandboxes', {}, { key, headers: { 'content-encoding': 'gzip' } })
    expect(await gatewayRefusal(packed)).toMatchObject({ status: 501, code: 'unimplemented' })
  })

  test('is told of methods that there are not', async () => {
    for (const method of ['DropSandbox', 'createSandbox', 'toString']) {
      expect(await refused(method)).toMatchObject({ status: 501, code: 'unimplemented' })
    }
  })

  test('is told that no sandbox came up', async () => {
    await scene.connected({ 'sandbox.create': refusing({ code: 'boot_failed', message: 'cannot create it' }) })
    expect(await refused('CreateSandbox')).toMatchObject({ status: 503, code: 'unavailable' })
  })

  test('is told of a limit that is reached', async () => {
    await scene.connected()
    await answer(`/admin/accounts/${scene.tenant.account}/limits`, {
      key: adminKey,
      method: 'PUT',
      json: { sandboxes: 1 },
    })
    await newIris(scene.tenant.key)
    const response = await callGateway('CreateSandbox', {}, scene.tenant)
    expect(response.headers.get('retry-after')).toBe('5')
    expect(await gatewayRefusal(response)).toMatchObject({ status: 429, code: 'resource_exhausted' })
  })

  test('has a code for each of ours, with the status that it has there', () => {
    for (const code of errorCodes) {
      const { code: connect, status } = connectCodeOf(code)
      expect(connect, code).toMatch(/^[a-z_]+$/)
      expect(status, code).toBeGreaterThanOrEqual(400)
    }
    expect(connectCodeOf('sandbox_not_found')).toEqual({ code: 'not_found', status: 404 })
    expect(connectCodeOf('conflict')).toEqual({ code: 'aborted', status: 409 })
    expect(connectCodeOf('internal')).toEqual({ code: 'internal', status: 500 })
  })
})

describe('a sandbox of somebody else', () => {
  const naming = methods.filter((method) => !['CreateSandbox', 'ListSandboxes'].includes(method))
  beforeEach(() => scene.connected())

  test.each(naming)('is to %s as if it had never been', async (method) => {
    const { sandbox } = await newIris(scene.tenant.key)
    const { key } = await newTenant()
    const foreign = await refused(method, { sandbox_id: sandbox.id }, key)
    expect(foreign).toEqual(await refused(method, { sandbox_id: never }, key))
    expect(foreign).toMatchObject({ status: 404, code: 'not_found' })
    expect(await listed()).toEqual([sandbox])
  })
})
