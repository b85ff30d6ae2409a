/** What can be done with files of a sandbox beyond reading and writing them: what its agent is asked, what of its answers goes out, and what is noted. */

import type { EdgeCall } from '@portico/shared/control'
import { answer as accept, type TunnelStream } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { type Ask, answer, ask, refusal } from './client.ts'
import { GuestScene, notedCalls, pattern, someStat } from './guest-scene.ts'
import { guestAnswers, readAll, type ScriptedRunner } from './scripted-runner.ts'

const scene = new GuestScene()
const at = (path: string) => scene.at(`/files${path}`)
const call = <Answer = unknown>(path: string, more: Ask = {}) => answer<Answer>(at(path), { key: scene.key, ...more })
const refused = (path: string, more: Ask = {}) => refusal(at(path), { key: scene.key, ...more })
const remove = { method: 'DELETE' } as const
/** `/\xff` */
const odd = btoa('/\xff')

/** A guest that notes what it is asked and answers this. */
async function guestWith(body: unknown): Promise<unknown[]> {
  const asked: unknown[] = []
  await scene.start(async (request, stream) => {
    const text = await readAll(stream)
    asked.push(`${request.method} ${request.path}`, ...(text === '' ? [] : [JSON.parse(text)]))
    guestAnswers(stream, 200, body)
  })
  return asked
}

const entry = {
  ...{ name: 'src/a', is_dir: false, size: 3, type: 'file', mode: '0644' },
  modified_at: '2026-01-01T00:00:00Z',
}

describe('files', () => {
  test.each([
    [false, false, false],
    [true, false, true],
    [false, true, true],
  ])('are listed as a tree: truncated %j, deeper %j', async (truncated, deeper, told) => {
    const asked = await guestWith({ path: '/app', entries: [{ ...entry, more: 1 }], truncated, deeper })
    expect(await call('/list?path=/app&depth=3&limit=50')).toEqual({ path: '/app', entries: [entry], truncated: told })
    await call('/list?path=/app')
    expect(asked).toEqual([
      'GET /files/list?path=%2Fapp&depth=3&limit=50',
      'GET /files/list?path=%2Fapp&depth=1&limit=10000',
    ])
  })

  test('are looked at one by one', async () => {
    const asked = await guestWith({ ...someStat, exists: true, entry_type: 'file', more: 1 })
    expect(await call('/stat?path=/etc/hostname')).toEqual(someStat)
    expect(await call(`/exists?path_base64=${encodeURIComponent(odd)}`)).toEqual({ exists: true, entry_type: 'file' })
    expect(asked).toEqual([
      'GET /files/stat?path=%2Fetc%2Fhostname',
      `GET /files/exists?${new URLSearchParams({ path_base64: odd })}`,
    ])
    await call('/stat?path_base64=L2E')
    expect(asked.at(-1)).toBe('GET /files/stat?path_base64=L2E%3D')
  })

  test('are searched', async () => {
    const found = { matches: [{ path: '/a', line: 1, column: 2, text: 'x' }], truncated: false, files_searched: 4 }
    const asked = await guestWith(found)
    expect(await call('/search', { json: { path: '/', pattern: 'x+' } })).toEqual(found)
    const usual = { literal: false, ignore_case: false, max_results: 1000, max_file_bytes: 16_777_216 }
    expect(asked).toEqual(['POST /files/search', { path: '/', pattern: 'x+', ...usual }])
    expect(await refused('/search', { json: { path: '/', pattern: '' } })).toMatchObject({ code: 'invalid_request' })
  })

  const done = { ok: true, path: '/b' }
  test.each([
    ['mkdir', { path: '/b', parents: true }, {}, 'file.changed'],
    ['mkdir', { path_base64: odd }, { parents: false }, 'file.changed'],
    ['chmod', { path: '/b', mode: '4755' }, { recursive: false }, 'file.changed'],
    ['chown', { path: '/b', owner: 'root', recursive: true }, {}, 'file.changed'],
    ['move', { source: '/a', destination: '/b' }, { overwrite: true }, 'file.moved'],
    ['copy', { source_base64: odd, destination: '/b' }, { overwrite: true, recursive: false }, 'file.copied'],
  ])('are changed by %s of %j', async (what, json, usual, event) => {
    const asked = await guestWith({ ...done, more: 1 })
    expect(await call(`/${what}`, { json })).toEqual(done)
    expect(asked).toEqual([`POST /files/${what}`, { ...json, ...usual }])
    const [noted] = await notedCalls(scene, 1)
    expect(noted).toMatchObject({ event, data: event === 'file.changed' ? { change: what, ...json } : json })
  })

  test('are removed', async () => {
    const asked = await guestWith(done)
    expect(await call('?path=/b', remove)).toEqual(done)
    expect(await call('?path=/b&recursive=true', remove)).toEqual(done)
    expect(asked).toEqual(['DELETE /files?path=%2Fb&recursive=false', 'DELETE /files?path=%2Fb&recursive=true'])
    expect(await notedCalls(scene, 2)).toMatchObject([
      { event: 'file.removed', data: { path: '/b', recursive: false } },
      { event: 'file.removed', data: { path: '/b', recursive: true } },
    ])
  })

  test('that were not changed are not noted', async () => {
    await scene.start((_call, stream) =>
      guestAnswers(stream, 409, { error: { code: 'conflict', message: 'cannot remove it: it is not empty' } }),
    )
    expect(await refused('?path=/b', remove)).toMatchObject({ status: 409, code: 'conflict' })
    await ask(scene.at('/exec'), { key: scene.key, json: { command: 'true' } })
    expect((await notedCalls(scene, 2)).map(({ event }) => event)).toEqual(['exec.start', 'exec.exit'])
  })

  test.each([
    ['/stat', 'invalid_path'],
    ['/stat?path=', 'invalid_path'],
    ['/stat?path=relative', 'invalid_path'],
    ['/stat?path=/a%00b', 'invalid_path'],
    ['/stat?path_base64=%2F%2F', 'invalid_path'],
    [`/stat?path_base64=${btoa('rel')}`, 'invalid_path'],
    [`/stat?path=/a&path_base64=${btoa('/a')}`, 'invalid_request'],
    ['/list?path=/a&depth=0', 'invalid_request'],
    ['/list?path=/a&limit=x', 'invalid_request'],
    ['/watch?path=/a&recursive=2', 'invalid_request'],
  ])('with the query %s are refused here', async (query, code) => {
    const asked = await guestWith(someStat)
    expect(await refused(query)).toMatchObject({ status: 400, code })
    expect(asked).toEqual([])
  })

  test.each([
    ['mkdir', {}, 'invalid_path'],
    ['mkdir', { path: '/a', path_base64: odd }, 'invalid_request'],
    ['mkdir', { path: '/a', mode: 'rwx' }, 'invalid_request'],
    ['chmod', { path: '/a' }, 'invalid_request'],
    ['chown', { path: '/a' }, 'invalid_request'],
    ['move', { source: '/a' }, 'invalid_path'],
    ['copy', { source: '/a', destination: 'b' }, 'invalid_path'],
    ['copy', { source: '/a', destination: '/b', destination_base64: odd }, 'invalid_request'],
    ['search', { pattern: 'x' }, 'invalid_path'],
  ])('are not changed by %s of %j', async (what, json, code) => {
    const asked = await guestWith(done)
    expect(await refused(`/${what}`, { json })).toMatchObject({ status: 400, code })
    expect(asked).toEqual([])
  })

  test.each(['/stat?path=/a', '/exists?path=/a', '/list?path=/a'])(
    'of which the agent says nonsense are not told: %s',
    async (query) => {
      await guestWith({ path: 7, exists: 'maybe' })
      expect(await refused(query)).toMatchObject({ status: 502, code: 'guest_error' })
    },
  )

  test('are uploaded with an owner, under names that are no text', async () => {
    const runner = await scene.start(async (_call, stream) => {
      await readAll(stream)
      guestAnswers(stream, 200, { path: '/x', size: 1 })
    })
    const query = new URLSearchParams({ path_base64: odd, mode: '4755', owner: 'app', group: '1000' })
    await call(`/upload?${query}`, { body: 'x' })
    expect(runner.calls.at(-1)).toMatchObject({ method: 'PUT', path: `/files?${query}` })
    expect(await notedCalls(scene, 1)).toEqual([{ event: 'file.uploaded', data: { path_base64: odd, bytes: 1 } }])
  })
})

test('a list that breaks off in the middle can be asked for again', async () => {
  const runner = await scene.start(async (_call, stream) => {
    accept(stream, { status: 200, headers: { 'content-type': 'application/json' } })
    await stream.write(new TextEncoder().encode('{"path":"/app","entries":['))
    runner.cut()
  })
  expect(await refused('/list?path=/app')).toMatchObject({ code: 'guest_disconnected', retryable: true })
})

test('an upload whose answer never ends is given up', async () => {
  const piece = new Uint8Array(1_048_576).fill(0x20)
  await scene.start(async (_call, stream) => {
    await readAll(stream)
    accept(stream, { status: 200, headers: { 'content-type': 'application/json' } })
    try {
      for (;;) await stream.write(piece)
    } catch {
      // Nobody takes it any more.
    }
  })
  const given = await refused('/upload?path=/x', { method: 'POST', body: 'x' })
  expect(given).toMatchObject({ status: 502, code: 'guest_error' })
})

describe('an archive', () => {
  test('is downloaded as it is', async () => {
    const body = pattern(300_000)
    const runner = await scene.start((_call, stream) => {
      accept(stream, { status: 200, headers: { 'content-type': 'text/html' } })
      void stream.write(body).then(() => stream.end())
    })
    const response = await ask(at('/archive?path=/app'), { key: scene.key })
    expect(response.headers.get('content-type')).toBe('application/x-tar')
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(body)
    expect(runner.calls.at(-1)).toMatchObject({ method: 'GET', path: '/files/archive?path=%2Fapp' })
    expect(await notedCalls(scene, 1)).toEqual([{ event: 'file.downloaded', data: { path: '/app', archive: true } }])
  })

  test('is uploaded as it comes', async () => {
    let size = 0
    await scene.start(async (_call, stream) => {
      for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) size += bytes.length
      guestAnswers(stream, 200, { ok: true, path: '/app', entries: 2, bytes: 10, more: 1 })
    })
    const unpacked = await call('/archive?path=/app', { method: 'PUT', body: pattern(300_000) as BodyInit })
    expect(unpacked).toEqual({ ok: true, path: '/app', entries: 2, bytes: 10 })
    expect(size).toBe(300_000)
    expect(await notedCalls(scene, 1)).toEqual([
      { event: 'file.uploaded', data: { path: '/app', archive: true, entries: 2, bytes: 10 } },
    ])
  })
})

type GuestRequest = Extract<EdgeCall, { op: 'guest.request' }>

/** A guest whose watch the test holds in its hands. */
async function watched(): Promise<{ runner: ScriptedRunner; asked: Promise<[GuestRequest, TunnelStream]> }> {
  const { promise: asked, resolve } = Promise.withResolvers<[GuestRequest, TunnelStream]>()
  const runner = await scene.start((request, stream) => {
    accept(stream, { status: 200, headers: { 'content-type': 'application/x-ndjson' } })
    resolve([request, stream])
  })
  return { runner, asked }
}

const line = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value)}\n`)

/** The text of a body, piece by piece. */
function textOf({ body }: Response): () => Promise<string> {
  const reader = (body as ReadableStream<Uint8Array>).getReader()
  return async () => new TextDecoder().decode((await reader.read()).value)
}

describe('a watch', () => {
  test('is told as events, whatever pieces its lines come in', async () => {
    const { asked } = await watched()
    const response = await ask(at('/watch?path=/app&recursive=true'), { key: scene.key })
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const [{ path }, stream] = await asked
    expect(path).toBe('/files/watch?path=%2Fapp&recursive=true')
    const next = textOf(response)
    await stream.write(line({ type: 'ready', more: 1 }))
    expect(await next()).toBe('event: ready\ndata: {"type":"ready"}\n\n')
    const event = { type: 'move', path: '/app/é', to: '/app/b' }
    const bytes = line(event)
    const cut = bytes.indexOf(0xc3) + 1
    await stream.write(bytes.slice(0, cut))
    await stream.write(bytes.slice(cut))
    expect(await next()).toBe(`event: move\ndata: ${JSON.stringify(event)}\n\n`)
    stream.end()
    expect(await next()).toBe('')
  })

  test('is ended in the sandbox when its caller goes away', async () => {
    const { asked } = await watched()
    const response = await ask(at('/watch?path=/app'), { key: scene.key })
    const [, stream] = await asked
    await stream.write(line({ type: 'ready' }))
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await reader.cancel()
    // What is told next finds nobody.
    await expect
      .poll(async () => {
        try {
          await stream.write(line({ type: 'heartbeat' }))
          return 'taken'
        } catch {
          return 'ended'
        }
      })
      .toBe('ended')
  })

  test('that breaks off, or tells nonsense, says so', async () => {
    const first = await watched()
    const next = textOf(await ask(at('/watch?path=/app'), { key: scene.key }))
    const [, stream] = await first.asked
    await stream.write(line({ type: 'ready' }))
    await next()
    first.runner.cut()
    expect(await next()).toMatch(/^event: error\ndata: .*"code":"runner_disconnected"/)
    const second = await watched()
    const other = textOf(await ask(at('/watch?path=/app'), { key: scene.key }))
    await (await second.asked)[1].write(line({ type: 'exploded' }))
    expect(await other()).toMatch(/^event: error\ndata: .*"code":"guest_error"/)
  })

  test('is told on a WebSocket, with the key in the URL, and ended by closing it', async () => {
    const { asked } = await watched()
    const { webSocket, status } = await ask(at(`/watch?path=/app&token=${scene.key}`), {
      headers: { upgrade: 'websocket' },
    })
    expect(status).toBe(101)
    const socket = webSocket as WebSocket
    const [{ path }, stream] = await asked
    expect(path).toBe('/files/watch?path=%2Fapp&recursive=false')
    const message = new Promise<unknown>((resolve) => {
      socket.addEventListener('message', ({ data }) => resolve(JSON.parse(String(data))), { once: true })
    })
    socket.accept()
    await stream.write(line({ type: 'create', path: '/app/x', is_dir: false, more: 1 }))
    expect(await message).toEqual({ type: 'create', path: '/app/x', is_dir: false })
    socket.close(1000, '')
    await expect
      .poll(async () => {
        try {
          await stream.write(line({ type: 'heartbeat' }))
          return 'taken'
        } catch {
          return 'ended'
        }
      })
      .toBe('ended')
  })

  test('on a WebSocket closes it when the sandbox ends it, or goes away', async () => {
    for (const [how, code] of [
      ['end', 1000],
      ['cut', 1011],
    ] as const) {
      const { asked, runner } = await watched()
      const { webSocket } = await ask(at('/watch?path=/app'), { key: scene.key, headers: { upgrade: 'websocket' } })
      const socket = webSocket as WebSocket
      const closed = new Promise<number>((resolve) => {
        socket.addEventListener('close', (event) => resolve(event.code))
      })
      socket.accept()
      const [, stream] = await asked
      if (how === 'end') stream.end()
      else runner.cut()
      expect(await closed).toBe(code)
    }
  })

  test('of what is not there is refused as any call is, before there is a socket', async () => {
    await scene.start(undefined)
    const more = { headers: { upgrade: 'websocket' } }
    expect(await refused('/watch?path=/none', more)).toMatchObject({ status: 404, code: 'file_not_found' })
    expect(await refusal(at('/watch?path=/app'), more)).toMatchObject({ status: 401 })
  })
})
