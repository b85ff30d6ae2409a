/** Servers in a sandbox reached by their public URLs, by real clients: what passes, what is kept apart, and what is said when nobody answers. */

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import type { Sandbox } from '@portico/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'
import { PortClient } from '../kit/port-client.ts'
import { appPort, startApp } from '../streams/app.ts'
import { echoes } from '../streams/echo.ts'

describe('a port of a sandbox', () => {
  let test: TestPlatform
  let sandbox: Sandbox
  let app: PortClient

  beforeAll(async () => {
    test = await testPlatform()
    sandbox = await test.portico.create({ image: 'python' })
    app = await startApp(test.platform, sandbox)
  })

  afterAll(async () => {
    await test?.[Symbol.asyncDispose]()
  })

  const put = (port: number, body: object) =>
    test.call(`/v1/runs/${sandbox.id}/ports/${port}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })

  it('carries an upload whole, with and without its length', async () => {
    const bytes = randomBytes(10_000_000)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    for (const body of [bytes, Readable.from([bytes.subarray(0, 1000), bytes.subarray(1000)])]) {
      const answer = JSON.parse(await app.text('/upload', { method: 'POST', body }))
      expect(answer).toEqual({ size: bytes.length, sha256 })
    }
  })

  it('carries ranges, HEAD, and an answer that ends with its connection', async () => {
    const range = await app.ask('/bytes?size=1000000', { headers: { range: 'bytes=500000-500003' } })
    expect([range.status, range.headers['content-range']]).toEqual([206, 'bytes 500000-500003/1000000'])
    expect([...range.body]).toEqual([0, 1, 2, 3].map((n) => (500_000 + n) % 256))
    const head = await app.ask('/bytes?size=1000000', { method: 'HEAD' })
    expect([head.status, head.headers['content-length'], head.body.length]).toEqual([200, '1000000', 0])
    expect(await app.text('/close')).toBe('until the end')
  })

  it('passes Server-Sent Events one by one as they are sent', async () => {
    const source = await app.open('/events?count=5')
    let text = ''
    const seen: number[] = []
    for await (const bytes of source) {
      text += String(bytes)
      seen.push(text.split('\n\n').length - 1)
    }
    expect(seen.at(-1)).toBe(5)
    expect(seen.length).toBeGreaterThanOrEqual(4)
  })

  it('tells the app who asks for what, and keeps hop-by-hop headers and made-up addresses from it', async () => {
    const headers = {
      'x-forwarded-for': '203.0.113.1',
      'x-forwarded-host': 'elsewhere',
      connection: 'x-private',
      'x-private': '1',
    }
    const answer = await app.ask('/request?a=1&b=%2F', { method: 'PATCH', headers, body: Buffer.from('abc') })
    const { method, target, size, headers: seen } = JSON.parse(answer.body.toString())
    const named = Object.fromEntries((seen as [string, string][]).map(([name, value]) => [name.toLowerCase(), value]))
    expect({ method, target, size }).toEqual({ method: 'PATCH', target: '/request?a=1&b=%2F', size: 3 })
    const host = new URL(app.url).host
    expect(named).toMatchObject({ host, 'x-forwarded-host': host, 'x-forwarded-proto': 'http' })
    expect(named['x-forwarded-for'] ?? '').not.toContain('203.0.113.1')
    expect(named).not.toHaveProperty('x-private')
    expect(answer.headers).not.toHaveProperty('x-hop')
  })

  it('keeps a cookie to its own host', async () => {
    const [cookie = ''] = (await app.ask('/cookie')).headers['set-cookie'] ?? []
    expect(cookie).toContain('seen=1')
    expect(cookie.toLowerCase()).not.toContain('domain')
  })

  it('carries a WebSocket: messages of all sizes, sub-protocol, ping, and how either side closes it', async () => {
    const socket = await app.socket('/echo', ['one', 'two'])
    expect(socket.protocol).toBe('two')
    const { sent, back } = await echoes(socket, 300)
    expect([back.bytes, back.hex]).toEqual([sent.bytes, sent.hex])
    const pong = once(socket, 'pong')
    socket.ping('here')
    await pong
    const closed = once(socket, 'close')
    socket.send('close 4123 so long')
    const [code, reason] = (await closed) as [number, Buffer]
    expect([code, String(reason)]).toEqual([4123, 'so long'])
  })

  it('reaches python3 -m http.server on the guest’s loopback', async () => {
    await sandbox.files.write('/root/www/note.txt', 'kept\n')
    await sandbox.exec('setsid python3 -m http.server --bind 127.0.0.1 -d /root/www 8080 </dev/null >/dev/null 2>&1 &')
    const server = new PortClient(test.platform, sandbox.id, 8080)
    await server.listening()
    expect(await server.text('/note.txt')).toBe('kept\n')
    const { ports } = (await (await test.call(`/v1/runs/${sandbox.id}/ports`)).json()) as { ports: object[] }
    expect(ports).toContainEqual(expect.objectContaining({ port: 8080, address: '127.0.0.1', listening: true }))
    expect(ports).toContainEqual(
      expect.objectContaining({ port: appPort, access: 'url', url: expect.stringContaining(app.url) }),
    )
  })

  it('is also behind the API with a key, apart from it', async () => {
    const path = `/v1/runs/${sandbox.id}/proxy/${appPort}/request`
    const answer = await test.call(path)
    expect(answer.headers.get('content-security-policy')).toContain('sandbox')
    const { headers } = (await answer.json()) as { headers: [string, string][] }
    expect(headers.map(([name]) => name.toLowerCase())).not.toContain('authorization')
    expect((await test.call(path, { key: '' })).status).toBe(401)
    expect((await app.ask('/v1/runs')).status).toBe(404)
  })

  it('says that nothing listens, and tells nothing of a sandbox that it does not know', async () => {
    const nobody = await new PortClient(test.platform, sandbox.id, 4444).ask('/')
    expect([nobody.status, nobody.body.toString()]).toEqual([502, expect.stringContaining('port_closed')])
    const gone = await test.portico.create({ image: 'python' })
    await gone.destroy()
    const [unknown, over] = await Promise.all([
      new PortClient(test.platform, `run${'a'.repeat(26)}`, appPort).ask('/'),
      new PortClient(test.platform, gone.id, appPort).ask('/'),
    ])
    expect(unknown.status).toBe(404)
    const said = ({ body }: typeof over) => body.toString().replace(/"request_id":"\w+"/, '')
    expect([over.status, said(over)]).toEqual([404, said(unknown)])
  })

  it('that is private opens with a key or with a signed link', async () => {
    expect((await put(appPort, { access: 'key' })).status).toBe(200)
    expect((await app.ask('/request')).status).toBe(401)
    const authorization = `Bearer ${test.platform.apiKey}`
    const shown = await app.text('/request', { headers: { authorization } })
    expect(shown).not.toContain(test.platform.apiKey)
    expect((await put(appPort, { access: 'signed' })).status).toBe(200)
    const made = await test.call(`/v1/runs/${sandbox.id}/ports/${appPort}/links`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ expires_in: 60, path: '/request' }),
    })
    const link = new URL(((await made.json()) as { url: string }).url)
    expect([401, 403]).toContain((await app.ask('/request')).status)
    const opened = await app.ask(`${link.pathname}${link.search}`)
    const cookie = (opened.headers['set-cookie'] ?? []).map((each) => each.split(';')[0]).join('; ')
    expect([200, 302, 303, 307]).toContain(opened.status)
    expect((await app.ask('/request', { headers: { cookie } })).status).toBe(200)
    const forged = link.search.replace(
      /portico_signature=./,
      (start) => `${start.slice(0, -1)}${start.endsWith('A') ? 'B' : 'A'}`,
    )
    expect([401, 403]).toContain((await app.ask(`${link.pathname}${forged}`)).status)
    expect((await put(appPort, { access: 'url' })).status).toBe(200)
  })

  it('of a sandbox that sleeps wakes it where it may, and says so where it may not', async () => {
    await sandbox.hibernate()
    expect((await app.ask('/request')).status).toBe(503)
    await sandbox.resume()
    expect((await app.ask('/request')).status).toBe(200)
    await using waking = await test.portico.create({ image: 'python', autoResume: true })
    const server = await startApp(test.platform, waking)
    await waking.hibernate()
    expect((await server.ask('/request')).status).toBe(200)
  })
})
