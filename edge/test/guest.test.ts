/** Calls to the guest: commands and files, streamed both ways, and every way in which they can break off. */

import type { RunRecord } from '@portico/shared/api'
import { answer as accept, type TunnelStream } from '@portico/shared/tunnel'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Ask, answer, ask, newTenant, read, refusal } from './client.ts'
import {
  type Enrolled,
  enrol,
  guestAnswers,
  readAll,
  refusing,
  type Script,
  ScriptedRunner,
} from './scripted-runner.ts'

let key: string
let enrolled: Enrolled
let id: string

const done = {
  exit_code: 0,
  stdout: 'hi\n',
  stderr: '',
  timed_out: false,
  duration_ms: 3,
  stdout_truncated: false,
  stderr_truncated: false,
}

beforeEach(async () => {
  key = (await newTenant()).key
  enrolled = await enrol()
})

afterEach(() => ScriptedRunner.cutAll())

/** A runner with one sandbox. */
async function start(guest: Script['guest.request']): Promise<ScriptedRunner> {
  const runner = await ScriptedRunner.connect(enrolled, guest === undefined ? {} : { 'guest.request': guest })
  await runner.report()
  id = (await answer<RunRecord>('/v1/runs', { key, json: { image: 'python' } })).id
  return runner
}

const at = (path: string) => `/v1/runs/${id}${path}`
const exec = (json: object, more: Ask = {}) => ask(at('/exec'), { key, json, ...more })
const pattern = (length: number) => Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) & 0xff)
const digest = async (bytes: ArrayBuffer | Uint8Array) =>
  [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].join()

describe('exec', () => {
  test('asks the agent as the protocol says and passes its answer through', async () => {
    const asked: unknown[] = []
    const runner = await start(async (call, stream) => {
      asked.push(JSON.parse(await readAll(stream)), call)
      guestAnswers(stream, 200, { ...done, extra: 'from a newer agent' })
    })
    const stdin = 'grüße'
    const response = await exec({ command: 'echo hi', timeout: 2.5, env: { A: '1' }, cwd: '/app', stdin })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(await response.json()).toEqual({ ...done, extra: 'from a newer agent' })
    const base64 = btoa(String.fromCharCode(...new TextEncoder().encode(stdin)))
    expect(asked[0]).toEqual({ shell: 'echo hi', timeout_ms: 2500, env: { A: '1' }, cwd: '/app', stdin: base64 })
    expect(asked[1]).toMatchObject({
      op: 'guest.request',
      sandbox: id,
      generation: 1,
      method: 'POST',
      path: '/exec',
      request_id: response.headers.get('x-request-id'),
    })
    await exec({ command: ['echo', 'a b'] })
    expect(asked[2]).toEqual({ argv: ['echo', 'a b'], timeout_ms: 30_000 })
    expect(runner.count('guest.request')).toBe(2)
  })

  test('with a non-zero exit is an ordinary answer', async () => {
    await start((_call, stream) => guestAnswers(stream, 200, { ...done, exit_code: 127, stderr: 'not found\n' }))
    const response = await exec({ command: 'nothing' })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ exit_code: 127 })
  })

  test('passes an answer of many megabytes through as it comes', async () => {
    const stdout = 'x'.repeat(5_000_000)
    await start((_call, stream) => guestAnswers(stream, 200, { ...done, stdout }))
    expect(await (await exec({ command: 'yes' })).json()).toMatchObject({ stdout })
  })

  test.each([
    [400, 'invalid_request', 400],
    [404, 'file_not_found', 404],
    [507, 'no_space', 507],
    [401, 'unauthorized', 502],
    [404, 'sandbox_not_found', 502],
    [421, 'moved', 502],
    [500, 'nonsense', 502],
  ])('a guest that answers %i %s is believed in its own matters only', async (told, code, status) => {
    const runner = await start((_call, stream) =>
      guestAnswers(stream, told, { error: { code, message: 'cannot do it:\nreally' } }),
    )
    const refused = await read(await exec({ command: 'x' }))
    expect(refused).toMatchObject({ status, code: status === 502 ? 'guest_error' : code })
    expect(refused.error).toContain('cannot do it: really')
    expect(runner.count('guest.request')).toBe(1)
  })

  test('a guest that answers nonsense is a bad gateway', async () => {
    await start((_call, stream) => {
      accept(stream, { status: 500, headers: { 'content-type': 'text/html' } })
      void stream.write(new TextEncoder().encode('<h1>ha</h1>'))
      stream.end()
    })
    expect(await read(await exec({ command: 'x' }))).toMatchObject({ status: 502, code: 'guest_error' })
  })

  test('a guest that sends more than it announced is cut off', async () => {
    await start((_call, stream) => {
      accept(stream, { status: 200, headers: { 'content-length': '3' } })
      void stream.write(new TextEncoder().encode('more than three'))
      stream.end()
    })
    expect(await read(await exec({ command: 'x' }))).toMatchObject({ status: 502, code: 'guest_error' })
  })

  test('a runner that sends a head which is none breaks that call alone', async () => {
    let calls = 0
    await start((_call, stream) => {
      if (calls++ === 0) return stream.accept(new TextEncoder().encode('{"ok":true,"status":99}'))
      guestAnswers(stream, 200, done)
    })
    expect(await read(await exec({ command: 'x' }))).toMatchObject({ status: 502, code: 'protocol_error' })
    expect((await exec({ command: 'x' })).status).toBe(200)
  })
})

describe('a runner that does not have the sandbox', () => {
  test('is believed once the route was looked up anew', async () => {
    let calls = 0
    const runner = await start((_call, stream) => {
      calls++
      if (calls === 2) return refusing({ code: 'moved', message: 'cannot: another generation' })(_call, stream)
      if (calls > 3) return refusing({ code: 'sandbox_not_found', message: 'cannot find it' })(_call, stream)
      guestAnswers(stream, 200, done)
    })
    expect((await exec({ command: 'x' })).status).toBe(200)
    expect((await exec({ command: 'x' })).status).toBe(200)
    expect(runner.count('guest.request')).toBe(3)
    expect(await read(await exec({ command: 'x' }))).toMatchObject({ status: 404, code: 'sandbox_not_found' })
    expect(runner.count('guest.request')).toBe(5)
  })

  test('is not asked again when bytes of the caller are used up', async () => {
    let calls = 0
    const runner = await start((call, stream) => {
      if (calls++ === 0) return guestAnswers(stream, 200, done)
      return refusing({ code: 'moved', message: 'cannot: another generation' })(call, stream)
    })
    await exec({ command: 'x' })
    const upload = await refusal(at('/files/upload?path=/x'), { key, body: 'bytes' })
    expect(upload).toMatchObject({ status: 421, code: 'moved', retryable: true })
    expect(runner.count('guest.request')).toBe(2)
  })
})

describe('files', () => {
  test.each(['POST', 'PUT'])('are uploaded by %s as they are, whatever their size', async (method) => {
    const received: { path: string; headers: object; digest: string }[] = []
    await start(async (call, stream) => {
      const parts: Uint8Array[] = []
      for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) parts.push(bytes)
      const whole = await new Blob(parts).arrayBuffer()
      received.push({ path: `${call.method} ${call.path}`, headers: call.headers, digest: await digest(whole) })
      guestAnswers(stream, 200, { path: '/a b', size: whole.byteLength })
    })
    for (const size of [0, 1, 65_536, 65_537, 3_000_000]) {
      const body = pattern(size)
      const response = await ask(at('/files/upload?path=/a%20b%26c&mode=0755'), { method, key, body })
      expect(await response.json()).toEqual({ path: '/a b', size })
      expect(received.at(-1)).toMatchObject({
        path: 'PUT /files?path=%2Fa+b%26c&mode=0755',
        headers: { 'content-length': String(size) },
        digest: await digest(body),
      })
    }
  })

  test('are uploaded without a length, too', async () => {
    let size = 0
    await start(async (call, stream) => {
      expect(call.headers['content-length']).toBeUndefined()
      for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) size += bytes.length
      guestAnswers(stream, 200, { path: '/x', size })
    })
    let left = 20
    const body = new ReadableStream({
      pull: (controller) => (left-- > 0 ? controller.enqueue(pattern(50_000)) : controller.close()),
    })
    expect(await answer(at('/files/upload?path=/x'), { key, body })).toEqual({ path: '/x', size: 1_000_000 })
  })

  test.each([0, 1, 65_536, 65_537, 3_000_000])('of %i bytes are downloaded as they are', async (size) => {
    const body = pattern(size)
    await start((_call, stream) => {
      accept(stream, {
        status: 200,
        headers: { 'Content-Length': String(size), 'Content-Type': 'text/html', 'Set-Cookie': 'a=b', ETag: '"1"' },
      })
      if (size > 0) void stream.write(body)
      stream.end()
    })
    const response = await ask(at('/files/download?path=/x'), { key })
    expect(response.headers.get('content-length')).toBe(String(size))
    expect(response.headers.get('content-type')).toBe('application/octet-stream')
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(response.headers.get('etag')).toBe('"1"')
    expect(response.headers.get('set-cookie')).toBeNull()
    expect(await digest(await response.arrayBuffer())).toBe(await digest(body))
  })

  test('are downloaded in ranges, and HEAD tells their length', async () => {
    const runner = await start((call, stream) => {
      const headers = { 'content-range': 'bytes 1-2/10', 'content-length': '2' }
      accept(stream, { status: call.method === 'HEAD' ? 200 : 206, headers })
      if (call.method === 'GET') void stream.write(pattern(2))
      stream.end()
    })
    const part = await ask(at('/files/download?path=/x'), { key, headers: { range: 'bytes=1-2' } })
    expect(part.status).toBe(206)
    expect(part.headers.get('content-range')).toBe('bytes 1-2/10')
    expect((await part.arrayBuffer()).byteLength).toBe(2)
    const head = await ask(at('/files/download?path=/x'), { key, method: 'HEAD' })
    expect(head.status).toBe(200)
    expect(head.headers.get('content-length')).toBe('2')
    expect(await head.text()).toBe('')
    expect(runner.calls.slice(1)).toMatchObject([
      { method: 'GET', headers: { range: 'bytes=1-2' } },
      { method: 'HEAD' },
    ])
  })

  test('of a directory are listed by name, with details', async () => {
    const entries = [
      { name: 'a.txt', type: 'file', size: 3, mode: '0644', modified_at: '2026-01-01T00:00:00Z' },
      { name: 'süb', type: 'directory', size: 0, mode: '0755', modified_at: '2026-01-01T00:00:00Z' },
    ]
    const runner = await start((_call, stream) => guestAnswers(stream, 200, { path: '/app', entries }))
    expect(await answer(at('/files?path=/app'), { key })).toEqual({
      path: '/app',
      entries: ['a.txt', 'süb'],
      details: entries,
    })
    expect(runner.calls.at(-1)).toMatchObject({ method: 'GET', path: '/files/list?path=%2Fapp' })
  })

  test('of a directory that the guest lists as nonsense are not passed on', async () => {
    await start((_call, stream) => guestAnswers(stream, 200, { path: '/app', entries: [{ name: 1 }] }))
    expect(await refusal(at('/files?path=/app'), { key })).toMatchObject({ status: 502, code: 'guest_error' })
  })

  test.each(['', 'relative', '../../etc/passwd', 'a%00b', '%2Fa%00b'])(
    'with the path %j are refused here',
    async (path) => {
      const runner = await start(undefined)
      for (const [to, request] of [
        ['/files/download', {}],
        ['/files', {}],
        ['/files/upload', { body: 'x' }],
      ] as const) {
        const refused = await refusal(at(`${to}?path=${path}`), { key, ...request })
        expect(refused).toMatchObject({ status: 400, code: 'invalid_path' })
      }
      expect(runner.count('guest.request')).toBe(0)
    },
  )

  test('with a mode that is none are refused here', async () => {
    await start(undefined)
    for (const mode of ['rwx', '9', '07777777', '']) {
      const refused = await refusal(at(`/files/upload?path=/x&mode=${mode}`), { key, body: 'x' })
      expect(refused).toMatchObject({ status: 400, code: 'invalid_request' })
    }
  })

  test('that do not fit are refused while they are still being sent', async () => {
    await start(async (_call, stream) => {
      await stream.read()
      guestAnswers(stream, 507, { error: { code: 'no_space', message: 'cannot write the file: the disk is full' } })
    })
    const refused = await refusal(at('/files/upload?path=/x'), { key, body: pattern(8_000_000) })
    expect(refused).toMatchObject({ status: 507, code: 'no_space' })
  })
})

describe('a tunnel that ends', () => {
  test('in the middle of an exec gives a retryable error at once', async () => {
    const runner = await start(() => undefined)
    const call = runner.next('guest.request')
    const pending = exec({ command: 'sleep 1000', timeout: 1000 })
    await call
    runner.cut()
    expect(await read(await pending)).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    const next = await read(await exec({ command: 'x' }))
    expect(next).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    expect(next.error).toBe('cannot reach the sandbox: its runner is not connected')
  })

  test('in the middle of a download breaks the body off, so that half a file never looks whole', async () => {
    const chunk = pattern(200_000)
    const runner = await start((_call, stream) => {
      accept(stream, { status: 200, headers: { 'content-length': '1000000' } })
      void stream.write(chunk).catch(() => undefined)
    })
    const response = await ask(at('/files/download?path=/x'), { key })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect((await reader.read()).done).toBe(false)
    runner.cut()
    const rest = async () => {
      while (!(await reader.read()).done);
    }
    await expect(rest()).rejects.toThrow()
  })

  test('because the runner dialled anew: what was open ends, what comes goes to the new one', async () => {
    const first = await start(() => undefined)
    const call = first.next('guest.request')
    const pending = exec({ command: 'sleep 1000' })
    await call
    const second = await ScriptedRunner.connect(enrolled, {
      'guest.request': (_call, stream) => guestAnswers(stream, 200, done),
    })
    expect(await read(await pending)).toMatchObject({ status: 503, code: 'runner_disconnected' })
    await second.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'running' }] })
    expect((await exec({ command: 'x' })).status).toBe(200)
    expect(first.count('guest.request')).toBe(1)
    await expect.poll(() => first.socket.readyState).toBe(WebSocket.CLOSED)
    expect(await answer(`/v1/runs/${id}`, { key })).toMatchObject({ status: 'running' })
  })

  test('because the runner broke the protocol closes it, and the runner may come back', async () => {
    const runner = await start((_call, stream) => guestAnswers(stream, 200, done))
    const closed = new Promise<CloseEvent>((resolve) => runner.socket.addEventListener('close', resolve))
    runner.socket.send(new Uint8Array([0x42, 0, 0, 0, 0, 0, 0, 0]))
    expect((await closed).code).toBe(1002)
    const back = await ScriptedRunner.connect(enrolled, {
      'guest.request': (_call, stream) => guestAnswers(stream, 200, done),
    })
    await back.report({ sandboxes: [{ sandbox: id, generation: 1, state: 'running' }] })
    expect((await exec({ command: 'x' })).status).toBe(200)
  })
})

describe('a caller that goes away', () => {
  const wasReset = (stream: TunnelStream) => stream.done

  test('while it waits ends the call in the sandbox', async () => {
    const ended = Promise.withResolvers<string | undefined>()
    const runner = await start(async (_call, stream) => ended.resolve((await wasReset(stream))?.code))
    const call = runner.next('guest.request')
    const leaving = new AbortController()
    const pending = exec({ command: 'sleep 1000' }, { signal: leaving.signal })
    await call
    leaving.abort()
    await expect(pending).rejects.toThrow()
    expect(await ended.promise).toBe('cancelled')
  })

  test('in the middle of a download stops the sender', async () => {
    const ended = Promise.withResolvers<string | undefined>()
    await start(async (_call, stream) => {
      accept(stream, { status: 200, headers: {} })
      const write = async () => {
        for (;;) await stream.write(pattern(65_536))
      }
      await write().catch(() => undefined)
      ended.resolve((await wasReset(stream))?.code)
    })
    const response = await ask(at('/files/download?path=/x'), { key })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await reader.cancel()
    expect(await ended.promise).toBe('cancelled')
  })

  test('in the middle of an upload leaves no half file: the guest sees a reset, not an end', async () => {
    const ended = Promise.withResolvers<string | undefined>()
    await start(async (_call, stream) => {
      const consume = async () => {
        while ((await stream.read()) !== undefined);
        return 'end'
      }
      await consume().catch(() => undefined)
      ended.resolve((await wasReset(stream))?.code)
    })
    const leaving = new AbortController()
    let sent = 0
    const body = new ReadableStream({
      pull(controller) {
        if (sent++ < 5) controller.enqueue(pattern(65_536))
        else leaving.abort()
      },
    })
    await expect(ask(at('/files/upload?path=/x'), { key, body, signal: leaving.signal })).rejects.toThrow()
    expect(await ended.promise).toBe('cancelled')
  })
})

describe('a slow reader', () => {
  test('holds up its own download and nobody else', async () => {
    let sent = 0
    await start(async (call, stream) => {
      if (call.path === '/exec') return guestAnswers(stream, 200, done)
      accept(stream, { status: 200, headers: {} })
      const write = async () => {
        for (;;) {
          await stream.write(pattern(65_536))
          sent += 65_536
        }
      }
      await write().catch(() => undefined)
    })
    const response = await ask(at('/files/download?path=/x'), { key })
    for (let turn = 0; turn < 20; turn++) expect((await exec({ command: 'x' })).status).toBe(200)
    expect(sent).toBeLessThan(4_000_000)
    await response.body?.cancel()
  })
})
