/** Ports of a sandbox: the three URLs, who may pass, what the app and its caller see of each other, and what does not wait for what. */

import type { ForkResponse, PortRecord, RunRecord } from '@portico/shared/api'
import type { EdgeCall } from '@portico/shared/control'
import { encodePortMessage, type PortMessage, PortMessageDecoder } from '@portico/shared/control'
import { answer as accept, type TunnelStream } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { adminKey, answer, ask, newTenant, refusal } from './client.ts'
import { pattern } from './guest-scene.ts'
import { PortScene, valuesOf, visit } from './port-scene.ts'
import { appAnswers, guestAnswers, readAll, refusing, ScriptedRunner } from './scripted-runner.ts'

type PortCall = Extract<EdgeCall, { op: 'port.request' }>
const scene = new PortScene()
const encoder = new TextEncoder()
const hello = (_call: PortCall, stream: TunnelStream) =>
  appAnswers(
    stream,
    200,
    [
      ['content-type', 'text/plain'],
      ['content-length', '5'],
    ],
    'hello',
  )

/** Keeps what it was asked and says hello. */
function noting() {
  const calls: PortCall[] = []
  const bodies: string[] = []
  const script = async (call: PortCall, stream: TunnelStream) => {
    calls.push(call)
    bodies.push(await readAll(stream))
    hello(call, stream)
  }
  return { calls, bodies, script, last: () => calls.at(-1) as PortCall }
}

/** Compares large arrays faster than an assertion does. */
function same(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index])
}

describe('a port', () => {
  test('is reached by its public URL, by the older form and with a key', async () => {
    const { calls, script, last } = noting()
    scene.does({ 'port.request': script })
    const response = await scene.app('/a%20b?c=/../d', { headers: { 'x-mine': 'kept' } })
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('hello')
    expect(last()).toMatchObject({
      sandbox: scene.id,
      generation: 1,
      port: 8080,
      method: 'GET',
      path: '/a%20b?c=/../d',
    })
    expect(last().body).toBe(false)
    expect(last().headers[0]).toEqual(['host', scene.host])
    expect(valuesOf(last().headers, 'x-mine')).toEqual(['kept'])
    expect(valuesOf(last().headers, 'x-forwarded-host')).toEqual([scene.host])
    expect(valuesOf(last().headers, 'x-forwarded-prefix')).toEqual([])

    expect((await visit(`http://${scene.id}.sandbox.localhost:8787/sb/p/3000/x/?y`)).status).toBe(200)
    expect(last()).toMatchObject({ port: 3000, path: '/x/?y' })
    expect(valuesOf(last().headers, 'x-forwarded-prefix')).toEqual(['/sb/p/3000'])

    expect((await scene.proxy('/x//y?z')).status).toBe(200)
    expect(last()).toMatchObject({ port: 8080, path: '/x//y?z' })
    expect(valuesOf(last().headers, 'x-forwarded-prefix')).toEqual([scene.at('/proxy/8080')])
    expect((await scene.proxy('')).status).toBe(200)
    expect(last().path).toBe('/')
    expect(calls).toHaveLength(4)
  })

  test('takes any method', async () => {
    const { script, last } = noting()
    scene.does({ 'port.request': script })
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'HEAD']) {
      expect((await scene.app('/', { method })).status).toBe(200)
      expect(last().method).toBe(method)
      expect((await scene.proxy('/', { method })).status).toBe(200)
      expect(last().method).toBe(method)
    }
  })

  test('is told the host that its setting says', async () => {
    const { script, last } = noting()
    await scene.fresh()
    scene.does({ 'port.request': script })
    await scene.set({ host: 'localhost' })
    await scene.app('/')
    expect(last().headers[0]).toEqual(['host', 'localhost:8080'])
    expect(valuesOf(last().headers, 'x-forwarded-host')).toEqual([scene.host])
  })

  test('is as private in a fork as in its parent', async () => {
    await scene.fresh()
    await scene.set({ access: 'key' })
    const { forks } = await answer<ForkResponse>(scene.at('/fork'), { key: scene.tenant.key, json: {} })
    const child = forks[0]?.id ?? ''
    expect((await visit(`http://8080-${child}.app.localhost:8787/`)).status).toBe(401)
    const path = `/v1/runs/${child}/ports/8080`
    expect(await answer(path, { key: scene.tenant.key })).toMatchObject({ access: 'key' })
  })

  test('stands in the records of the sandbox', async () => {
    const listens = { ports: [{ port: 5173, address: '127.0.0.1', pid: 7, command: 'node' }] }
    await scene.fresh()
    scene.does({ 'guest.request': (_call, stream) => guestAnswers(stream, 200, listens) })
    const record = await answer<RunRecord>(scene.at(''), { key: scene.tenant.key })
    expect(record.url_template).toBe(`http://{port}-${scene.id}.app.localhost:8787`)
    const { runs } = await answer<{ runs: RunRecord[] }>('/v1/runs', { key: scene.tenant.key })
    expect(runs.find(({ id }) => id === scene.id)?.url_template).toBe(record.url_template)
    expect(await scene.set({ access: 'key' })).toEqual({
      port: 8080,
      access: 'key',
      host: 'public',
      url: `http://${scene.host}`,
      proxy_url: `http://portico.test${scene.at('/proxy/8080')}`,
    })
    const { ports } = await answer<{ ports: PortRecord[] }>(scene.at('/ports'), { key: scene.tenant.key })
    expect(ports).toEqual([
      expect.objectContaining({
        port: 5173,
        access: 'url',
        listening: true,
        address: '127.0.0.1',
        pid: 7,
        command: 'node',
      }),
      expect.objectContaining({ port: 8080, access: 'key', listening: false }),
    ])
    const one = await answer<PortRecord>(scene.at('/ports/5173'), { key: scene.tenant.key })
    expect(one).not.toHaveProperty('listening')
    for (const port of ['0', '65536', '08080', 'x']) {
      const refused = await refusal(scene.at(`/ports/${port}`), { key: scene.tenant.key })
      expect(refused).toMatchObject({ status: 400, code: 'invalid_request' })
    }
  })
})

describe('bodies', () => {
  test('a small one goes up with its length, and an empty one as none', async () => {
    const { script, last, bodies } = noting()
    scene.does({ 'port.request': script })
    await scene.app('/', { method: 'POST', body: 'grüße' })
    expect(bodies).toEqual(['grüße'])
    expect(valuesOf(last().headers, 'content-length')).toEqual(['7'])
    expect(last().body).toBe(true)
    await scene.app('/', { method: 'POST' })
    expect(bodies.at(-1)).toBe('')
  })

  test('flow both ways at once, without a length', async () => {
    scene.does({
      'port.request': async (_call, stream) => {
        accept(stream, { status: 200, headers: [] })
        for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read())
          await stream.write(bytes)
        stream.end()
      },
    })
    const { readable, writable } = new IdentityTransformStream()
    const writer = writable.getWriter()
    const asked = scene.app('/echo', { method: 'POST', body: readable })
    await writer.write(encoder.encode('first'))
    const reader = (await asked).body?.getReader()
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('first')
    await writer.write(encoder.encode('second'))
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('second')
    await writer.close()
    expect((await reader?.read())?.done).toBe(true)
  })

  test('of many megabytes arrive whole, up and down', async () => {
    const bytes = pattern(6_000_000)
    let got = 0
    scene.does({
      'port.request': async (_call, stream) => {
        for (let piece = await stream.read(); piece !== undefined; piece = await stream.read()) got += piece.length
        appAnswers(stream, 200, [['content-length', String(bytes.length)]], bytes)
      },
    })
    const response = await scene.app('/', { method: 'PUT', body: bytes })
    expect(response.headers.get('content-length')).toBe(String(bytes.length))
    const down = new Uint8Array(await response.arrayBuffer())
    expect(got).toBe(bytes.length)
    expect(same(down, bytes)).toBe(true)
  })

  test('events pass one by one, and a caller that goes away ends the request in the sandbox', async () => {
    const ended = Promise.withResolvers<unknown>()
    const more = Promise.withResolvers<void>()
    scene.does({
      'port.request': async (_call, stream) => {
        accept(stream, { status: 200, headers: [['content-type', 'text/event-stream']] })
        void stream.done.then(ended.resolve)
        await stream.write(encoder.encode('data: 1\n\n'))
        await more.promise
        await stream.write(encoder.encode('data: 2\n\n'))
      },
    })
    const reader = (await scene.app('/events')).body?.getReader()
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('data: 1\n\n')
    more.resolve()
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('data: 2\n\n')
    await reader?.cancel()
    expect(await ended.promise).toMatchObject({ code: 'cancelled' })
  })

  test('a small answer that is slow does not hold up its head', async () => {
    const rest = Promise.withResolvers<void>()
    scene.does({
      'port.request': async (_call, stream) => {
        accept(stream, { status: 200, headers: [['content-length', '4']] })
        await stream.write(encoder.encode('ab'))
        await rest.promise
        await stream.write(encoder.encode('cd'))
        stream.end()
      },
    })
    const response = await scene.app('/')
    rest.resolve()
    expect(await response.text()).toBe('abcd')
  })

  test.each([204, 304])('%i has none', async (status) => {
    scene.does({ 'port.request': (_call, stream) => appAnswers(stream, status, [['etag', '"a"']]) })
    const response = await scene.app('/')
    expect(response.status).toBe(status)
    expect(response.headers.get('etag')).toBe('"a"')
    expect(await response.text()).toBe('')
  })

  test('HEAD keeps what the app says of the body, and Range passes', async () => {
    const { script, last } = noting()
    scene.does({ 'port.request': script })
    const head = await scene.app('/', { method: 'HEAD', headers: { range: 'bytes=0-1' } })
    expect(head.headers.get('content-type')).toBe('text/plain')
    expect(await head.text()).toBe('')
    expect(valuesOf(last().headers, 'range')).toEqual(['bytes=0-1'])
  })

  test('that the app has packed itself are not packed again', async () => {
    const packed = new Blob(['packed']).stream().pipeThrough(new CompressionStream('gzip'))
    const bytes = new Uint8Array(await new Response(packed).arrayBuffer())
    const headers: [string, string][] = [['content-encoding', 'gzip']]
    scene.does({
      'port.request': ({ path }, stream) =>
        appAnswers(
          stream,
          200,
          path === '/known' ? [...headers, ['content-length', String(bytes.length)]] : headers,
          bytes,
        ),
    })
    expect(await (await scene.app('/known')).text()).toBe('packed')
    expect(await (await scene.app('/unknown')).text()).toBe('packed')
    expect(await (await scene.proxy('/known')).text()).toBe('packed')
  })
})

describe('cookies', () => {
  test('stay apart, lose their domain, and keep to the prefix', async () => {
    scene.does({
      'port.request': (_call, stream) =>
        appAnswers(stream, 302, [
          ['set-cookie', 'a=1; Domain=app.localhost; Path=/; HttpOnly'],
          ['set-cookie', 'b=2; path=/sub'],
          ['location', '/login'],
        ]),
    })
    const app = await scene.app('/')
    expect(app.headers.getSetCookie()).toEqual(['a=1; Path=/; HttpOnly', 'b=2; Path=/sub'])
    expect(app.headers.get('location')).toBe('/login')
    const proxied = await scene.proxy('/')
    const prefix = scene.at('/proxy/8080')
    expect(proxied.headers.getSetCookie()).toEqual([`a=1; Path=${prefix}/; HttpOnly`, `b=2; Path=${prefix}/sub`])
    expect(proxied.headers.get('location')).toBe(`${prefix}/login`)
    expect(proxied.headers.get('content-security-policy')).toBe('sandbox')
  })
})

describe('who may pass', () => {
  test('with a key: the account’s own, which the app never sees', async () => {
    const { script, last, calls } = noting()
    await scene.fresh()
    scene.does({ 'port.request': script })
    await scene.set({ access: 'key' })
    const as = (key: string) => scene.app('/', { headers: { authorization: `Bearer ${key}` } })
    expect((await scene.app('/')).status).toBe(401)
    expect((await as('portico_live_local_made_up')).status).toBe(401)
    expect((await as((await newTenant()).key)).status).toBe(403)
    const json = { region: 'local', scope: 'read-only' }
    const path = `/admin/accounts/${scene.tenant.account}/keys`
    expect((await as((await answer<{ key: string }>(path, { key: adminKey, json })).key)).status).toBe(403)
    expect(calls).toHaveLength(0)
    expect((await as(scene.tenant.key)).status).toBe(200)
    expect(JSON.stringify(last())).not.toContain('portico_live')
  })

  test('a header that is the app’s own reaches it', async () => {
    const { script, last } = noting()
    scene.does({ 'port.request': script })
    await scene.app('/', { headers: { authorization: 'Basic YTpi' } })
    expect(valuesOf(last().headers, 'authorization')).toEqual(['Basic YTpi'])
    await scene.app('/', { headers: { authorization: `Bearer ${scene.tenant.key}` } })
    expect(valuesOf(last().headers, 'authorization')).toEqual([])
  })

  test('with a signed link, which becomes a cookie, and ends with the next change', async () => {
    const { script, last, calls } = noting()
    await scene.fresh()
    scene.does({ 'port.request': script })
    await scene.set({ access: 'signed' })
    const { url, expires_at } = await scene.link({ path: '/page?x=1#part', expires_in: 60 })
    expect(Date.parse(expires_at)).toBeGreaterThan(Date.now() + 50_000)
    expect(new URL(url).hash).toBe('#part')
    expect((await scene.app('/page')).status).toBe(401)
    const wrong = url.replace(/portico_signature=.{4}/, 'portico_signature=aaaa')
    expect((await visit(wrong)).status).toBe(403)
    expect((await visit(url.replace(/portico_expires=\d+/, 'portico_expires=99999999999'))).status).toBe(403)
    expect((await visit(url.replace('8080-', '8081-'))).status).toBe(200)
    calls.length = 0

    const opened = await visit(url)
    expect(opened.status).toBe(200)
    expect(last().path).toBe('/page?x=1')
    const [cookie = ''] = opened.headers.getSetCookie()
    expect(cookie).toMatch(/^portico-link-8080=\d+\.[a-z2-7]{52}; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/)
    const sent = { headers: { cookie: `mine=1; ${cookie.split(';')[0]}` } }
    expect((await scene.app('/next', sent)).status).toBe(200)
    expect(valuesOf(last().headers, 'cookie')).toEqual(['mine=1'])

    await scene.set({ access: 'signed' })
    expect((await visit(url)).status).toBe(403)
    expect((await scene.app('/next', sent)).status).toBe(403)
    expect(calls).toHaveLength(2)
    const { entries } = await audited()
    expect(entries).toEqual(expect.arrayContaining(['port.changed', 'port.linked']))
  })

  async function audited(): Promise<{ entries: string[] }> {
    const text = await (await ask(scene.at('/audit'), { key: scene.tenant.key })).text()
    return {
      entries: text
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { event: string }).event),
    }
  }
})

describe('without an answer of the app', () => {
  test('nothing that listens is 502, as a page for browsers and JSON else', async () => {
    scene.does({ 'port.request': refusing({ code: 'port_closed', message: 'cannot connect: /var/lib/secret' }) })
    const page = await scene.app('/', { headers: { accept: 'text/html,*/*' } })
    expect(page.status).toBe(502)
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'")
    const text = await page.text()
    expect(text).toContain('Nothing listens')
    expect(text).not.toMatch(new RegExp(`secret|${scene.id}`))
    const body = (await (await scene.app('/')).json()) as { code: string }
    expect(body.code).toBe('port_closed')
    const proxied = await refusal(scene.at('/proxy/8080/'), { key: scene.tenant.key })
    expect(proxied).toMatchObject({ status: 502, code: 'port_closed' })
  })

  test('unknown, destroyed and misspelt are the same 404', async () => {
    await scene.fresh()
    scene.does({ 'port.request': hello })
    const id = scene.id
    await answer(scene.at(''), { method: 'DELETE', key: scene.tenant.key })
    const said = async (host: string) => {
      const response = await visit(`http://${host}/`)
      return `${response.status} ${(await response.text()).replace(/req[a-z2-7]{26}/, '')}`
    }
    const destroyed = await said(`8080-${id}.app.localhost:8787`)
    expect(destroyed).toMatch(/^404 /)
    expect(await said(`8080-run${'a'.repeat(26)}.app.localhost`)).toBe(destroyed)
    expect(await said(`99999-${id}.app.localhost`)).toBe(destroyed)
    expect(await said('app.localhost:8787')).toBe(destroyed)
    expect(await said(`x.${id}.sandbox.localhost`)).toBe(destroyed)
    // A sandbox's own host asks for a token before it looks.
    expect(await said(`${id}.sandbox.localhost`)).toBe(await said(`run${'a'.repeat(26)}.sandbox.localhost`))
  })

  test('of a hibernated sandbox is 503 by its URL and 409 with a key', async () => {
    await scene.fresh()
    scene.does({ 'port.request': hello })
    expect((await scene.app('/')).status).toBe(200)
    await answer(scene.at('/hibernate'), { method: 'POST', key: scene.tenant.key })
    const asleep = await scene.app('/')
    expect(asleep.status).toBe(503)
    expect(asleep.headers.get('retry-after')).not.toBeNull()
    const proxied = await refusal(scene.at('/proxy/8080/'), { key: scene.tenant.key })
    expect(proxied).toMatchObject({ status: 409, code: 'sandbox_hibernated' })
  })

  test('one that its use wakes is asked for its room and reached', async () => {
    await scene.fresh({ auto_resume: true })
    scene.does({ 'port.request': hello })
    await answer(scene.at('/hibernate'), { method: 'POST', key: scene.tenant.key })
    expect((await scene.app('/')).status).toBe(200)
    expect(scene.runner.count('port.request')).toBe(1)
  })

  test('a runner that is too old is told apart from a fault', async () => {
    scene.does({ 'port.request': refusing({ code: 'protocol_error', message: "cannot read the peer's call" }) })
    expect((await scene.app('/')).status).toBe(501)
    expect(await refusal(scene.at('/proxy/8080/'), { key: scene.tenant.key })).toMatchObject({ code: 'unsupported' })
  })

  test('a wrong route is looked up anew, once', async () => {
    let calls = 0
    await scene.fresh()
    scene.does({
      'port.request': (call, stream) => {
        if (calls++ === 1) return refusing({ code: 'moved', message: 'cannot: elsewhere' })(call, stream)
        hello(call, stream)
      },
    })
    expect((await scene.app('/')).status).toBe(200)
    expect((await scene.app('/', { method: 'POST', body: 'small' })).status).toBe(200)
    expect(scene.runner.count('port.request')).toBe(3)
  })

  test('of a runner that is away is 503', async () => {
    scene.does({ 'port.request': hello })
    await ScriptedRunner.cutAll()
    expect((await scene.app('/')).status).toBe(503)
    await scene.back()
  })
})

describe('a WebSocket', () => {
  /** What the app's side of a socket is. */
  class AppSocket {
    readonly #stream: TunnelStream
    readonly #decoder = new PortMessageDecoder()
    readonly #got: PortMessage[] = []

    constructor(stream: TunnelStream) {
      this.#stream = stream
    }

    async next(): Promise<PortMessage | undefined> {
      while (this.#got.length === 0) {
        const bytes = await this.#stream.read()
        if (bytes === undefined) return undefined
        this.#got.push(...this.#decoder.push(bytes))
      }
      return this.#got.shift()
    }

    async send(message: PortMessage): Promise<void> {
      await this.#stream.write(encodePortMessage(message))
    }
  }

  interface Ending {
    readonly code: number
    readonly reason: string
  }

  /** The caller's side: messages in their order, and how it ended. */
  function heard(socket: WebSocket) {
    const got: unknown[] = []
    const ended = Promise.withResolvers<Ending>()
    socket.binaryType = 'arraybuffer'
    socket.addEventListener('message', ({ data }) => {
      got.push(data)
    })
    socket.addEventListener('close', ({ code, reason }) => ended.resolve({ code, reason }))
    socket.accept()
    return { got, ended: ended.promise }
  }

  async function opened(protocols: string | undefined, chosen: string | null, by: 'app' | 'proxy' = 'app') {
    const stream = Promise.withResolvers<TunnelStream>()
    scene.does({
      'port.socket': (_call, given) => {
        accept(given, { status: 101, headers: [['set-cookie', 'a=1']], protocol: chosen })
        stream.resolve(given)
      },
    })
    const headers: Record<string, string> = { upgrade: 'websocket', origin: 'http://x.test' }
    if (protocols !== undefined) headers['sec-websocket-protocol'] = protocols
    const response = await scene[by]('/ws?x', { headers })
    expect(response.status).toBe(101)
    const app = new AppSocket(await stream.promise)
    return { response, app, stream: await stream.promise, socket: response.webSocket as WebSocket }
  }

  test.each(['app', 'proxy'] as const)('is joined message by message through %s, with its sub-protocol', async (by) => {
    const { response, app, socket } = await opened('one, two', 'two', by)
    expect(response.headers.get('sec-websocket-protocol')).toBe('two')
    expect(response.headers.getSetCookie()).toHaveLength(1)
    const call = scene.runner.calls.find(({ op }) => op === 'port.socket') as Extract<EdgeCall, { op: 'port.socket' }>
    expect(call).toMatchObject({ port: 8080, path: '/ws?x', protocols: ['one', 'two'] })
    expect(valuesOf(call.headers, 'origin')).toEqual(['http://x.test'])
    expect(call.headers.filter(([name]) => name.startsWith('sec-websocket') || name === 'upgrade')).toEqual([])
    const { got, ended } = heard(socket)
    socket.send('grüße')
    expect(await app.next()).toEqual({ kind: 'text', text: 'grüße' })
    const bytes = pattern(300_000)
    socket.send(bytes)
    const up = await app.next()
    expect(up?.kind === 'binary' && same(up.bytes, bytes)).toBe(true)
    await app.send({ kind: 'text', text: '' })
    await app.send({ kind: 'binary', bytes })
    await app.send({ kind: 'close', code: 4321, reason: 'enough' })
    expect(await ended).toEqual({ code: 4321, reason: 'enough' })
    expect(got[0]).toBe('')
    expect(same(new Uint8Array(got[1] as ArrayBuffer), bytes)).toBe(true)
  })

  test('that its caller closes tells the app why', async () => {
    const { app, socket, stream } = await opened(undefined, null)
    const { ended } = heard(socket)
    socket.close(4000, 'bye')
    expect(await app.next()).toEqual({ kind: 'close', code: 4000, reason: 'bye' })
    expect(await app.next()).toBeUndefined()
    stream.end()
    expect(await ended).toMatchObject({ code: 4000 })
  })

  test('whose app breaks off, or whose tunnel does, is closed with a code that says so', async () => {
    const first = await opened(undefined, null)
    const { ended } = heard(first.socket)
    first.stream.end()
    expect((await ended).code).toBe(1011)
    const second = await opened(undefined, null)
    const { ended: cut } = heard(second.socket)
    await ScriptedRunner.cutAll()
    expect((await cut).code).toBe(1012)
    await scene.back()
  })

  test('that the app refuses gets the app’s own answer', async () => {
    scene.does({
      'port.socket': (_call, stream) => {
        accept(stream, { status: 426, headers: [['content-length', '4']], protocol: null })
        void stream.write(encoder.encode('nope'))
        stream.end()
      },
    })
    const response = await scene.app('/', { headers: { upgrade: 'websocket' } })
    expect(response.status).toBe(426)
    expect(await response.text()).toBe('nope')
  })
})
