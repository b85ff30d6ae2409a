import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { PortMessage } from '@portico/shared/control'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws'
import { PortScene } from '../testing/port-scene.ts'

vi.setConfig({ testTimeout: 30_000 })
let scene: PortScene
beforeAll(async () => {
  scene = await PortScene.open()
})
afterAll(() => scene.close())

/** A server of WebSockets. */
async function serve(onSocket: (socket: WebSocket) => void, options: ServerOptions = {}): Promise<number> {
  const http = createServer()
  new WebSocketServer({ server: http, ...options }).on('connection', (socket) => {
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  return await scene.listen(http)
}

const echo = (socket: WebSocket) =>
  socket.on('message', (data, isBinary) => void socket.send(data as Buffer, { binary: isBinary }))

it('carries texts and bytes of any size both ways, in their order', async () => {
  const { answer, send, next } = await scene.socket(await serve(echo))
  expect(answer).toMatchObject({ ok: true, status: 101, protocol: null })
  const sizes = [0, 1, 125, 126, 65_535, 65_536, 300_000, 3_000_000]
  const messages: PortMessage[] = sizes.flatMap((size) => [
    { kind: 'binary', bytes: randomBytes(size) },
    { kind: 'text', text: 'ü'.repeat(size / 2) },
  ])
  void (async () => {
    for (const message of messages) await send(message)
  })()
  const digest = (message: PortMessage | undefined) => {
    if (message?.kind === 'binary') return `binary ${createHash('sha256').update(message.bytes).digest('hex')}`
    return message?.kind === 'text' ? `text ${createHash('sha256').update(message.text).digest('hex')}` : message
  }
  for (const message of messages) expect(digest(await next())).toBe(digest(message))
})

it('carries thousands of small messages', async () => {
  const { send, next } = await scene.socket(await serve(echo))
  const count = 5000
  void (async () => {
    for (let index = 0; index < count; index++) void send({ kind: 'text', text: String(index) })
  })()
  for (let index = 0; index < count; index++) expect(await next()).toEqual({ kind: 'text', text: String(index) })
})

it('offers sub-protocols, and tells which was chosen, if any', async () => {
  const offered = ['b', 'a']
  const choosing = await serve(echo, { handleProtocols: (protocols) => (protocols.has('a') ? 'a' : false) })
  expect((await scene.socket(choosing, { protocols: offered })).answer).toMatchObject({ status: 101, protocol: 'a' })
  const silent = await serve(echo, { handleProtocols: () => false })
  const { answer, send, next } = await scene.socket(silent, { protocols: offered })
  expect(answer).toMatchObject({ status: 101, protocol: null })
  await send({ kind: 'text', text: 'x' })
  expect(await next()).toEqual({ kind: 'text', text: 'x' })
})

it('tells the server path and headers as the caller wrote them', async () => {
  const seen = Promise.withResolvers<{ url: string | undefined; raw: string }>()
  const verifyClient = ({ req }: { req: IncomingMessage }) => {
    seen.resolve({ url: req.url, raw: req.rawHeaders.join(' ') })
    return true
  }
  const headers: [string, string][] = [
    ['host', '80-a.example'],
    ['origin', 'https://a.example'],
    ['cookie', 'a=1'],
    ['sec-websocket-key', 'mine'],
  ]
  await scene.socket(await serve(echo, { verifyClient }), { path: '/a/../b?c=%20', headers })
  const { url, raw } = await seen.promise
  expect(url).toBe('/a/../b?c=%20')
  expect(raw).toContain('host 80-a.example')
  expect(raw).toContain('origin https://a.example')
  expect(raw).not.toContain('mine')
})

it.each([
  [1000, 'done'],
  [3001, 'ours'],
  [4999, ''],
])("passes the server's close %i on", async (code, reason) => {
  const { next, stream } = await scene.socket(await serve((socket) => socket.close(code, reason)))
  expect(await next()).toEqual({ kind: 'close', code, reason })
  expect(await next()).toBeUndefined()
  stream.end()
  expect(await stream.done).toBeUndefined()
})

it('passes a close without a code on as 1005', async () => {
  const { next } = await scene.socket(await serve((socket) => socket.close()))
  expect(await next()).toEqual({ kind: 'close', code: 1005, reason: '' })
})

it.each([
  [{ code: 4001, reason: 'because' }, [4001, 'because']],
  [{ code: 1005, reason: '' }, [1005, '']],
  [{ code: 4002, reason: 'é'.repeat(100) }, [4002, 'é'.repeat(61)]],
  [{ code: 1006, reason: '' }, [1006, '']],
])("passes the caller's close %o on", async (close, seen) => {
  const closed = Promise.withResolvers<[number, string]>()
  const port = await serve((socket) => socket.on('close', (code, why) => closed.resolve([code, String(why)])))
  const { send, stream } = await scene.socket(port)
  await send({ kind: 'close', ...close })
  stream.end()
  expect(await closed.promise).toEqual(seen)
})

it('tells a server that breaks off by an end without a close, and it of a caller that does', async () => {
  const { next } = await scene.socket(await serve((socket) => socket.terminate()))
  expect(await next()).toBeUndefined()
  for (const leave of ['end', 'reset'] as const) {
    const closed = Promise.withResolvers<number>()
    const { stream } = await scene.socket(await serve((socket) => socket.on('close', closed.resolve)))
    if (leave === 'end') stream.end()
    else stream.reset({ code: 'cancelled', message: 'cannot go on' })
    expect(await closed.promise).toBe(1006)
  }
})

it('answers the pings of a server', async () => {
  const ponged = Promise.withResolvers<string>()
  const port = await serve((socket) => {
    socket.on('pong', (data) => ponged.resolve(String(data)))
    socket.ping('beat')
  })
  await scene.socket(port)
  expect(await ponged.promise).toBe('beat')
})

it("passes a refused upgrade on as the server's own answer", async () => {
  const http = createServer((request, response) => {
    response.writeHead(request.headers.upgrade ? 403 : 200, { 'x-why': 'origin' })
    response.end('not you')
  })
  const { answer, text } = await scene.socket(await scene.listen(http))
  expect(answer).toMatchObject({ ok: true, status: 403, protocol: null })
  expect(answer.ok && answer.headers).toContainEqual(['x-why', 'origin'])
  expect(await text()).toBe('not you')
})

it('tells that nothing listens, and of a handshake that is none', async () => {
  const server = createServer()
  const closedPort = await scene.listen(server)
  await new Promise((closed) => server.close(closed))
  expect((await scene.socket(closedPort)).answer).toMatchObject({ ok: false, error: { code: 'port_closed' } })
  const wrong = createServer().on('upgrade', (_request, socket) => {
    socket.on('error', () => undefined)
    socket.end('HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n')
  })
  const { answer } = await scene.socket(await scene.listen(wrong))
  expect(answer).toMatchObject({ ok: false, error: { code: 'guest_error' } })
})

it('holds a server up whose messages nobody reads', async () => {
  const sockets: WebSocket[] = []
  const port = await serve((socket) => sockets.push(socket))
  const { next } = await scene.socket(port)
  const [socket] = sockets
  const message = Buffer.alloc(64 * 1024)
  const count = 400
  for (let index = 0; index < count; index++) socket?.send(message)
  const waiting = () => socket?.bufferedAmount ?? 0
  const left = await stable(waiting)
  expect(left).toBeGreaterThan((count * message.length) / 4)
  for (let index = 0; index < count; index++) expect((await next())?.kind).toBe('binary')
  expect(waiting()).toBe(0)
})

it('holds a caller up whose messages the server does not read', async () => {
  const sockets: WebSocket[] = []
  const port = await serve((socket) => {
    sockets.push(socket)
    socket.pause()
  })
  const { send } = await scene.socket(port)
  let taken = 0
  const bytes = Buffer.alloc(64 * 1024)
  for (let index = 0; index < 400; index++)
    send({ kind: 'binary', bytes }).then(
      () => taken++,
      () => undefined,
    )
  expect(await stable(() => taken)).toBeLessThan(300)
  const all = Promise.withResolvers<void>()
  let heard = 0
  sockets[0]?.on('message', () => (++heard === 400 ? all.resolve() : undefined))
  sockets[0]?.resume()
  await all.promise
})

/** A figure once it has stood still for a while. */
async function stable(read: () => number): Promise<number> {
  for (let last = Number.NaN; ; ) {
    const now = read()
    if (now === last) return now
    last = now
    await new Promise((done) => setTimeout(done, 100))
  }
}
