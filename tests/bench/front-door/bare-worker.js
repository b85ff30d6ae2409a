/**
 * What the front door stands on, with nothing on top: a Worker that says hello, and a Worker that asks a Durable Object, which asks a peer over a
 * hibernatable WebSocket and waits for the echo. `/object` is answered by the object itself, `/object/100MB` with so many bytes, `/object/row` from a row of
 * its SQLite, which a PUT writes. Plain JavaScript, served by workerd as it stands.
 */

export default {
  async fetch(request, env) {
    if (request.url.endsWith('/hello')) return new Response('hello')
    return env.ECHO.get(env.ECHO.idFromName('one')).fetch(request)
  },
}

export class Echo {
  #socket
  #waiting = new Map()
  #last = 0

  constructor(ctx) {
    this.ctx = ctx
  }

  async fetch(request) {
    if (request.headers.get('upgrade') === 'websocket') {
      const { 0: client, 1: server } = new WebSocketPair()
      this.ctx.acceptWebSocket(server)
      this.#socket = server
      return new Response(null, { status: 101, webSocket: client })
    }
    const { pathname } = new URL(request.url)
    if (pathname === '/object') return new Response('ok\n')
    if (pathname === '/object/100MB') return new Response(hundredMegabytes())
    if (pathname === '/object/row') return await this.#row(request)
    const id = ++this.#last
    const body = new Uint8Array(await request.arrayBuffer())
    const message = new Uint8Array(4 + body.length)
    new DataView(message.buffer).setUint32(0, id)
    message.set(body, 4)
    const { promise, resolve } = Promise.withResolvers()
    this.#waiting.set(id, resolve)
    this.#socket ??= this.ctx.getWebSockets()[0]
    this.#socket.send(message)
    return new Response(await promise, { headers: { 'content-type': 'application/json' } })
  }

  async #row(request) {
    const { sql } = this.ctx.storage
    if (request.method === 'PUT') {
      sql.exec('CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID')
      sql.exec('INSERT OR REPLACE INTO rows VALUES (?, ?)', 'note', await request.text())
      return Response.json({ ok: true })
    }
    const { value } = sql.exec('SELECT value FROM rows WHERE key = ?', 'note').one()
    return new Response(value, { headers: { 'content-type': 'application/json' } })
  }

  webSocketMessage(_socket, message) {
    const id = new DataView(message).getUint32(0)
    this.#waiting.get(id)?.(new Uint8Array(message, 4))
    this.#waiting.delete(id)
  }
}

function hundredMegabytes() {
  const piece = new Uint8Array(100_000)
  const { readable, writable } = new FixedLengthStream(100_000_000)
  const writer = writable.getWriter()
  const send = async () => {
    for (let sent = 0; sent < 1000; sent++) await writer.write(piece)
    await writer.close()
  }
  send().catch(() => undefined)
  return readable
}
