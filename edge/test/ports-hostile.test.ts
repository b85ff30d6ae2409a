/** Ports against callers and apps of ill will: hosts that are nearly ours, headers that would pass for the platform's, answers that would reach too far. */

import type { EdgeCall, HeaderList } from '@portico/shared/control'
import { answer as accept, type TunnelStream } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { adminKey, answer, newTenant, read } from './client.ts'
import { PortScene, valuesOf, visit } from './port-scene.ts'
import { appAnswers } from './scripted-runner.ts'

type PortCall = Extract<EdgeCall, { op: 'port.request' }>
const scene = new PortScene()

/** An app that answers these headers, and what it was asked. */
function app(headers: HeaderList = [], status = 200, body = 'the app') {
  const calls: PortCall[] = []
  scene.does({
    'port.request': (call, stream) => {
      calls.push(call)
      appAnswers(stream, status, headers, body)
    },
  })
  return calls
}

describe('the host', () => {
  test('of an app never serves the API or the page, key or not', async () => {
    const calls = app()
    const headers = { authorization: `Bearer ${scene.tenant.key}` }
    for (const path of ['/', '/healthz', '/v1/runs', '/console/', scene.at('/exec'), '/admin/accounts']) {
      const response = await scene.app(path, { headers })
      expect(await response.text()).toBe('the app')
    }
    expect(calls).toHaveLength(6)
    for (const host of [
      'app.localhost',
      'sandbox.localhost',
      `x-${scene.id}.app.localhost`,
      `${scene.id}.app.localhost`,
    ]) {
      expect((await visit(`http://${host}/v1/runs`, { headers })).status).toBe(404)
    }
    expect((await visit(`http://${scene.id}.sandbox.localhost/v1/runs`, { headers })).status).toBe(404)
    expect(calls).toHaveLength(6)
  })

  test('is told apart whatever its case, its port and its last dot', async () => {
    const calls = app()
    const name = `8080-${scene.id}.app.localhost`
    for (const host of [name.toUpperCase(), `${name}.`, `${name}.:8787`, `${name}:1`, name]) {
      expect(await (await visit(`http://${host}/`)).text()).toBe('the app')
    }
    expect(calls).toHaveLength(5)
  })

  test('that only looks like one is the API’s, or nothing', async () => {
    const calls = app()
    const name = `8080-${scene.id}`
    const api = [
      `${name}.app.localhost.evil.test`,
      `${name}.xapp.localhost`,
      `${name}.localhost`,
      '127.0.0.1',
      '[::1]:8787',
    ]
    for (const host of api) expect((await visit(`http://${host}/healthz`)).status).toBe(200)
    const nothing = [
      `x.${name}.app.localhost`,
      `${name}-1.app.localhost`,
      `08080-${scene.id}.app.localhost`,
      `65536-${scene.id}.app.localhost`,
      `-${scene.id}.app.localhost`,
      `8080-${scene.id.slice(0, -1)}.app.localhost`,
    ]
    for (const host of nothing) {
      expect((await visit(`http://${host}/healthz`)).status).toBe(404)
    }
    expect(calls).toHaveLength(0)
  })
})

describe('a request', () => {
  test('tells the app nothing that its caller made up about itself', async () => {
    const calls = app()
    const response = await scene.app('/', {
      headers: {
        'x-forwarded-for': '1.2.3.4',
        'x-forwarded-host': 'evil.test',
        'x-forwarded-proto': 'https',
        'x-forwarded-prefix': '/evil',
        'x-forwarded-server': 'evil',
        forwarded: 'for=1.2.3.4',
        'x-real-ip': '1.2.3.4',
        'cf-connecting-ip': '1.2.3.4',
        'true-client-ip': '1.2.3.4',
        'x-portico-port': '{}',
        'x-portico-call': '{}',
        te: 'trailers',
        'proxy-authorization': 'Basic eDp5',
        'keep-alive': 'timeout=5',
      },
    })
    expect(response.status).toBe(200)
    const headers = calls[0]?.headers ?? []
    expect(valuesOf(headers, 'x-forwarded-host')).toEqual([scene.host])
    expect(valuesOf(headers, 'x-forwarded-proto')).toEqual(['http'])
    expect(headers.filter(([name]) => name === 'host')).toHaveLength(1)
    expect(JSON.stringify(headers)).not.toMatch(/evil|1\.2\.3\.4|portico-|trailers|eDp5|timeout/)
  })

  test('names its caller where the platform knows it', async () => {
    const calls = app()
    const cf = { colo: 'XXX' } as unknown as IncomingRequestCfProperties
    await scene.app('/', {
      headers: { 'cf-connecting-ip': '5.6.7.8', 'x-forwarded-for': '1.2.3.4' },
      cf,
    } as RequestInit)
    const known = valuesOf(calls[0]?.headers ?? [], 'x-forwarded-for')
    expect(known).toEqual(['5.6.7.8'])
  })

  test('loses what it calls its connection’s own, and keeps no length beside a transfer coding', async () => {
    const calls = app()
    const headers = { connection: 'x-secret, close', 'x-secret': '1', 'x-kept': '2' }
    await scene.app('/', { headers })
    const seen = calls[0]?.headers ?? []
    expect(valuesOf(seen, 'x-secret')).toEqual([])
    expect(valuesOf(seen, 'x-kept')).toEqual(['2'])
    await scene.app('/', {
      method: 'POST',
      body: 'abc',
      headers: { 'content-length': '99', 'transfer-encoding': 'chunked' },
    })
    const posted = calls[1]?.headers ?? []
    expect(valuesOf(posted, 'transfer-encoding')).toEqual([])
    expect(['3', undefined]).toContain(valuesOf(posted, 'content-length')[0])
  })

  test('carries line breaks in its path and query as it wrote them: encoded', async () => {
    const calls = app()
    await scene.app('/a%0d%0aX-Evil:%201?q=%0d%0aSet-Cookie:a=1')
    expect(calls[0]?.path).toBe('/a%0d%0aX-Evil:%201?q=%0d%0aSet-Cookie:a=1')
    expect(JSON.stringify(calls[0]?.headers)).not.toMatch(/evil/i)
  })
})

describe('an answer', () => {
  test('cannot pass for one of the platform, nor break out of a header', async () => {
    app([
      ['x-portico-outcome', 'error'],
      ['x-portico-port', '1'],
      ['x-one', 'a\r\nset-cookie: evil=1'],
      ['x two', 'a'],
      ['x-kept', 'b'],
      ['connection', 'x-hop'],
      ['x-hop', '1'],
      ['transfer-encoding', 'chunked'],
      ['set-cookie', 'portico-link-8080=1.a; Path=/'],
      ['set-cookie', '__Host-portico-link-8080=1.a; Path=/'],
      ['clear-site-data', '"*"'],
      ['alt-svc', 'h3=":1"'],
    ])
    const response = await scene.app('/')
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('the app')
    const names = [...response.headers.keys()]
    expect(names).toContain('x-kept')
    for (const name of [
      'x-portico-outcome',
      'x-portico-port',
      'x-one',
      'x-hop',
      'set-cookie',
      'clear-site-data',
      'alt-svc',
    ]) {
      expect(names).not.toContain(name)
    }
  })

  test.each([101, 150, 600, 999])('with status %i is none that could be passed on', async (status) => {
    app([], status)
    expect((await scene.app('/')).status).toBe(502)
  })

  test('that is longer or shorter than it says is broken off, and the next one is whole', async () => {
    const lying = (said: number, sent: number) => {
      scene.does({
        'port.request': async (_call: PortCall, stream: TunnelStream) => {
          accept(stream, { status: 200, headers: [['content-length', String(said)]] })
          await stream.write(new Uint8Array(sent).fill(97)).catch(() => undefined)
          stream.end()
        },
      })
    }
    lying(3, 10)
    expect((await scene.app('/')).status).toBe(502)
    lying(10, 3)
    const shorter = await scene.app('/')
    if (shorter.status !== 502) await expect(shorter.text()).rejects.toThrow()
    lying(200_000, 3)
    await expect(scene.app('/').then((response) => response.text())).rejects.toThrow()
    app()
    expect(await (await scene.app('/')).text()).toBe('the app')
  })
})

describe('on the API’s host', () => {
  test('an app is of no origin, registers nothing and keeps nothing for the host', async () => {
    const calls = app([
      ['content-type', 'text/html'],
      ['content-security-policy', "default-src 'self'"],
      ['service-worker-allowed', '/'],
      ['strict-transport-security', 'max-age=1; includeSubDomains'],
      ['clear-site-data', '"storage"'],
      ['report-to', '{}'],
      ['refresh', '0; url=/console/'],
      ['set-cookie', 'a=1; Domain=portico.test; Path=/v1'],
      ['location', '//evil.test/'],
    ])
    const response = await scene.proxy('/')
    expect(response.headers.get('content-security-policy')).toBe("default-src 'self', sandbox")
    for (const name of [
      'service-worker-allowed',
      'strict-transport-security',
      'clear-site-data',
      'report-to',
      'refresh',
    ]) {
      expect(response.headers.get(name)).toBeNull()
    }
    expect(response.headers.getSetCookie()).toEqual([`a=1; Path=${scene.at('/proxy/8080/v1')}`])
    expect(JSON.stringify(calls[0]?.headers)).not.toContain('portico_live')
    const worker = await read(await scene.proxy('/sw.js', { headers: { 'service-worker': 'script' } }))
    expect(worker).toMatchObject({ status: 403, code: 'forbidden' })
    expect(calls).toHaveLength(1)
  })

  test('somebody else’s sandbox is one that never was, also right after its owner was there', async () => {
    const calls = app()
    expect((await scene.proxy('/')).status).toBe(200)
    const path = `/admin/accounts/${scene.tenant.account}/keys`
    const abroad = await answer<{ key: string }>(path, { key: adminKey, json: { region: 'eu' } })
    const stranger = (await newTenant()).key
    const id = scene.id
    for (const key of [stranger, abroad.key]) {
      scene.id = id
      const foreign = await read(await scene.proxy('/', { key }))
      scene.id = `run${'a'.repeat(26)}`
      const unknown = await read(await scene.proxy('/', { key }))
      expect({ ...foreign, request_id: '' }).toEqual({ ...unknown, request_id: '' })
      expect(foreign.status).toBe(404)
    }
    scene.id = id
    const looker = await answer<{ key: string }>(path, { key: adminKey, json: { region: 'local', scope: 'read-only' } })
    expect((await scene.proxy('/', { key: looker.key })).status).toBe(403)
    expect((await visit(`http://portico.test${scene.at('/proxy/8080/')}`)).status).toBe(401)
    expect(calls).toHaveLength(1)
  })
})

describe('a link', () => {
  test('opens its own port of its own sandbox only, and a cookie that somebody planted locks nobody out', async () => {
    const calls = app()
    await scene.fresh()
    await scene.set({ access: 'signed' })
    const { search } = new URL((await scene.link()).url)
    const other = scene.id
    await scene.fresh()
    await scene.set({ access: 'signed' })
    expect((await scene.app(`/${search}`)).status).toBe(403)
    scene.id = other
    expect((await scene.app(`/${search}&portico_expires=99999999999`)).status).toBe(403)
    expect(calls).toHaveLength(0)
    const opened = await scene.app(`/${search}`)
    const [cookie = ''] = opened.headers.getSetCookie()
    const planted = `portico-link-8080=99999999999.${'a'.repeat(52)}; ${cookie.split(';')[0]}`
    expect((await scene.app('/', { headers: { cookie: planted } })).status).toBe(200)
    expect(JSON.stringify(calls.map(({ headers, path }) => [headers, path]))).not.toMatch(
      /portico[-_](link|expires|signature)/,
    )
  })
})
