import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type SeenRequest, WireServer } from '../test/wire-server.ts'
import { type FileChange, Portico, type SandboxFiles } from './index.ts'

const route = 'GET /v1/runs/*/files/watch'

let wire: WireServer
let portico: Portico
let files: SandboxFiles

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  files = (await portico.create({ image: 'python' })).files
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

const event = (value: { readonly type: string }) => `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

/** The next connection of a watch, as the platform holds it. */
function watcher(): Promise<{ readonly seen: SeenRequest; readonly response: ServerResponse }> {
  return new Promise((resolve) =>
    wire.intercept(route, (seen, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      resolve({ seen, response })
      return once(response, 'close')
    }),
  )
}

describe('watching', () => {
  it('tells what happens as it comes, byte by byte, and nothing of heartbeats', async () => {
    const watching = watcher()
    const changes = files.watch('/app', { recursive: true })[Symbol.asyncIterator]()
    const first = changes.next()
    const { seen, response } = await watching
    expect(seen.headers.accept).toBe('text/event-stream')
    expect(String(seen.query)).toBe('path=%2Fapp&recursive=true')
    const text = [
      ': a comment\r\n',
      event({ type: 'ready' }),
      event({ type: 'heartbeat' }),
      `event: create\r\ndata: {"type":"create",\r\ndata:  "path":"/app/ö","is_dir":true}\r\n\r\n`,
      event(Object.assign({ type: 'modify' }, { path: '/app/a\ufffd', path_base64: 'L2FwcC9h/w==' })),
      event(Object.assign({ type: 'move' }, { path: '/app/a', to: '/app/b' })),
      event({ type: 'overflow' }),
    ].join('')
    for (const byte of Buffer.from(text)) response.write(Buffer.from([byte]))
    const rest: FileChange[] = [(await first).value]
    while (rest.length < 5) rest.push((await changes.next()).value)
    expect(rest).toEqual([
      { type: 'ready' },
      { type: 'create', path: '/app/ö', isDirectory: true },
      {
        type: 'modify',
        path: '/app/a\ufffd',
        pathBytes: Uint8Array.from([...Buffer.from('/app/a'), 0xff]),
        isDirectory: false,
      },
      { type: 'move', path: '/app/a', to: '/app/b', isDirectory: false },
      { type: 'overflow' },
    ])
    await changes.return?.()
    await seen.abandoned
  })

  it('is made again when the connection breaks, and says that something was missed', async () => {
    let watching = watcher()
    const changes = files.watch('/app')[Symbol.asyncIterator]()
    const next = async () => (await changes.next()).value as FileChange
    const first = next()
    const before = await watching
    before.response.write(event({ type: 'ready' }))
    expect(await first).toEqual({ type: 'ready' })
    watching = watcher()
    const second = next()
    before.response.destroy()
    const after = await watching
    after.response.write(event({ type: 'ready' }))
    expect(await second).toEqual({ type: 'overflow' })
    await changes.return?.()
    await after.seen.abandoned
  })

  it('ends with its signal, without an error', async () => {
    const controller = new AbortController()
    const watching = watcher()
    const told: FileChange[] = []
    const loop = (async () => {
      for await (const change of files.watch('/app', { signal: controller.signal })) {
        told.push(change)
        controller.abort()
      }
    })()
    const { seen, response } = await watching
    response.write(event({ type: 'ready' }))
    await loop
    await seen.abandoned
    expect(told).toEqual([{ type: 'ready' }])
  })

  it('throws what cannot pass: a refusal, an error that comes as an event, nonsense', async () => {
    const first = () => files.watch('/app')[Symbol.asyncIterator]().next()
    wire.fail(route, 'file_not_found')
    await expect(first()).rejects.toMatchObject({ name: 'NotFoundError', code: 'file_not_found' })
    const answer = (text: string) => wire.intercept(route, (_seen, response) => response.writeHead(200).end(text))
    answer('event: error\ndata: {"error":"cannot watch: too much","code":"conflict"}\n\n')
    await expect(first()).rejects.toMatchObject({ code: 'conflict', message: 'cannot watch: too much' })
    answer('data: x\n\n')
    await expect(first()).rejects.toMatchObject({ code: 'protocol_error' })
  })
})
