import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { PortScene } from '../testing/port-scene.ts'

vi.setConfig({ testTimeout: 30_000 })
let scene: PortScene
beforeAll(async () => {
  scene = await PortScene.open()
})
afterAll(() => scene.close())

type Handler = (request: IncomingMessage, response: ServerResponse) => void
const serve = (handler: Handler) => scene.listen(createServer(handler))

/** A server that says what it is told, whatever it is asked; `sockets` are its connections so far. */
async function serveBytes(answer: (socket: Socket, asked: string) => void) {
  const sockets: Socket[] = []
  const port = await scene.listen(
    createTcpServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => undefined)
      socket.on('data', (bytes) => answer(socket, String(bytes)))
    }),
  )
  return { port, sockets }
}

const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

it('carries head and body as they are, but for what belongs to the connection', async () => {
  let raw: string[] = []
  const port = await serve((request, response) => {
    raw = request.rawHeaders
    response.writeHead(418, [
      ['X-A', 'b, c'],
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2'],
      ['Connection', 'keep-alive, x-hop'],
      ['X-Hop', 'gone'],
    ])
    response.end(`${request.method} ${request.url}`)
  })
  const headers: [string, string][] = [
    ['host', '8080-a.example'],
    ['cookie', 'a=1'],
    ['x-twice', '1'],
    ['x-twice', '2'],
    ['connection', 'x-mine'],
    ['x-mine', 'gone'],
    ['te', 'trailers'],
    ['expect', '100-continue'],
  ]
  const answer = await scene.ask({ port, path: '/a/../b//c?d=%20&e', headers })
  expect(raw.join(' ')).toBe('host 8080-a.example cookie a=1 x-twice 1 x-twice 2 connection keep-alive')
  expect(answer.status).toBe(418)
  expect(answer.headers.filter(([name]) => name !== 'date')).toEqual([
    ['x-a', 'b, c'],
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2'],
  ])
  expect(await answer.text()).toBe('GET /a/../b//c?d=%20&e')
})

it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'])('carries %s', async (method) => {
  const port = await serve((request, response) => {
    response.setHeader('x-length', String(request.headers['content-length']))
    response.setHeader('content-length', 3)
    response.end(request.method === 'HEAD' ? undefined : 'abc')
  })
  const answer = await scene.ask({ port, method })
  const told = Object.fromEntries(answer.headers)
  const empty = ['POST', 'PUT', 'PATCH'].includes(method)
  expect(told).toMatchObject({ 'content-length': '3', 'x-length': empty ? '0' : 'undefined' })
  expect(await answer.text()).toBe(method === 'HEAD' ? '' : 'abc')
})

it('tells the server its port as host where the caller gave none', async () => {
  const port = await serve((request, response) => void response.end(request.headers.host))
  expect(await (await scene.ask({ port })).text()).toBe(`localhost:${port}`)
})

it('streams large bodies both ways at once, with a length and without', async () => {
  const port = await serve((request, response) => void request.pipe(response))
  const content = randomBytes(5_000_000)
  for (const headers of [[], [['content-length', String(content.length)]]] as [string, string][][]) {
    const body = new Blob([content]).stream() as ReadableStream<Uint8Array>
    const answer = await scene.ask({ port, method: 'POST', headers, body })
    expect(hash(await answer.bytes())).toBe(hash(content))
  }
})

it('lets a server answer before the first byte of a body has come', async () => {
  const port = await serve((request, response) => {
    response.writeHead(200).flushHeaders()
    request.pipe(response)
  })
  const body = new TransformStream<Uint8Array, Uint8Array>()
  const answer = await scene.ask({ port, method: 'POST', body: body.readable })
  const writer = body.writable.getWriter()
  await writer.write(Buffer.from('later'))
  expect(Buffer.from((await answer.stream.read()) ?? []).toString()).toBe('later')
  await writer.close()
  expect(await answer.text()).toBe('')
})

it('passes each piece of an answer on as it comes', async () => {
  const answers: ServerResponse[] = []
  const port = await serve((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    answers.push(response)
  })
  const { stream, status } = await scene.ask({ port })
  expect(status).toBe(200)
  for (const text of ['data: 1\n\n', 'data: 2\n\n']) {
    answers[0]?.write(text)
    expect(Buffer.from((await stream.read()) ?? []).toString()).toBe(text)
  }
  answers[0]?.end()
  expect(await stream.read()).toBeUndefined()
})

it('keeps interim answers to itself', async () => {
  const port = await serve((request, response) => {
    response.writeContinue()
    response.writeEarlyHints({ link: '</a.css>; rel=preload' })
    request.on('data', () => undefined).on('end', () => response.end('done'))
  })
  const answer = await scene.ask({ port, method: 'POST', body: Buffer.from('x') })
  expect([answer.status, await answer.text()]).toEqual([200, 'done'])
})

it('keeps a connection for requests that may be repeated, and gives others their own', async () => {
  const ports: (number | undefined)[] = []
  const port = await serve((request, response) => {
    ports.push(request.socket.remotePort)
    request.resume().on('end', () => response.end('x'))
  })
  for (const method of ['GET', 'GET', 'POST']) await (await scene.ask({ port, method })).text()
  const [first, second, third] = ports
  expect(second).toBe(first)
  expect(third).not.toBe(first)
})

it('makes a request once more whose kept connection was closed under it', async () => {
  let asked = 0
  const { port, sockets } = await serveBytes((socket) => {
    if (++asked === 2) socket.destroy()
    else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  })
  for (let round = 0; round < 2; round++) expect(await (await scene.ask({ port })).text()).toBe('ok')
  expect([asked, sockets.length]).toEqual([3, 2])
})

it('makes no request twice that came on a connection of its own', async () => {
  let asked = 0
  const { port } = await serveBytes((socket) => {
    asked++
    socket.destroy()
  })
  await expect(scene.ask({ port })).rejects.toMatchObject({ code: 'guest_error' })
  expect(asked).toBe(1)
})

it('reads an answer that only the end of the connection ends', async () => {
  const { port } = await serveBytes((socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nall of it'))
  expect(await (await scene.ask({ port })).text()).toBe('all of it')
})

it('breaks an answer off that its server breaks off', async () => {
  const { port } = await serveBytes((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf', () => socket.resetAndDestroy())
  })
  const answer = await scene.ask({ port })
  await expect(answer.text()).rejects.toMatchObject({ code: 'guest_error' })
})

it.each([
  ['is no HTTP', 'SSH-2.0-OpenSSH\r\n'],
  ['changes the protocol unasked', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
  ['has too long a head', `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(40_000)}\r\n\r\n`],
  ['has too many headers', `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(300)}\r\n`],
  ['splits its answer in two', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n'],
])('refuses an answer that %s', async (_name, text) => {
  const { port } = await serveBytes((socket) => socket.end(text, 'latin1'))
  await expect(scene.ask({ port })).rejects.toMatchObject({ code: 'guest_error' })
})

it.each<[string, { path?: string; headers?: [string, string][]; method?: string }]>([
  ['a line break in a header', { headers: [['x', 'a\r\nx: b']] }],
  ['a header that is no name', { headers: [['x y', 'a']] }],
  ['a line break in its path', { path: '/a\r\nx: y' }],
  ['a space in its path', { path: '/a b' }],
  [
    'two hosts',
    {
      headers: [
        ['host', 'a'],
        ['host', 'b'],
      ],
    },
  ],
  ['the method CONNECT', { method: 'CONNECT' }],
])('sends nothing that has %s', async (_name, asked) => {
  let connections = 0
  const server = createServer(() => connections++)
  const port = await scene.listen(server)
  await expect(scene.ask({ port, ...asked })).rejects.toMatchObject({ code: 'invalid_request' })
  expect(connections).toBe(0)
})

it('tells that nothing listens', async () => {
  const server = createServer()
  const port = await scene.listen(server)
  await new Promise((closed) => server.close(closed))
  await expect(scene.ask({ port })).rejects.toMatchObject({ code: 'port_closed' })
})

it('leaves the server when the caller leaves, before the answer and in it', async () => {
  for (const early of [true, false]) {
    const asked = Promise.withResolvers<IncomingMessage>()
    const port = await serve((request, response) => {
      asked.resolve(request)
      if (!early) response.write('a')
    })
    const caller = new AbortController()
    const answer = scene.ask({ port, signal: caller.signal })
    const { socket } = await asked.promise
    if (!early) await answer
    const gone = new Promise((resolve) => socket.once('close', resolve))
    answer.catch(() => undefined)
    caller.abort()
    await gone
    if (early) await expect(answer).rejects.toMatchObject({ code: 'cancelled' })
  }
})

it('holds a server up whose answer nobody reads, and holds little of it', async () => {
  const piece = Buffer.alloc(64 * 1024)
  let written = 0
  const stalled = Promise.withResolvers<void>()
  const port = await serve((_request, response) => {
    const more = () => {
      while (response.write(piece)) written += piece.length
      // What the sockets of this host hold is taken as well before nothing moves any more.
      const at = written
      setTimeout(() => (written === at ? stalled.resolve() : undefined), 300)
    }
    response.on('drain', more)
    more()
  })
  const answer = await scene.ask({ port })
  await stalled.promise
  expect(written).toBeLessThan(24 * 1024 * 1024)
  answer.stream.reset({ code: 'cancelled', message: 'cannot go on: enough' })
})

it('answers before the body was taken where the server does', async () => {
  const port = await serve((request, response) => {
    request.resume()
    response.writeHead(413)
    response.end('too much')
  })
  const endless = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(65_536)) })
  const answer = await scene.ask({ port, method: 'POST', body: endless })
  expect([answer.status, await answer.text()]).toEqual([413, 'too much'])
})
