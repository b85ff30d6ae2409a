/** Files of the sandbox, streamed both ways. */

import { answer as accept } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { answer, ask, refusal } from './client.ts'
import { GuestScene, pattern } from './guest-scene.ts'
import { guestAnswers } from './scripted-runner.ts'

const scene = new GuestScene()

const digest = async (bytes: ArrayBuffer | Uint8Array) =>
  [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].join()
describe('files', () => {
  test.each(['POST', 'PUT'])('are uploaded by %s as they are, whatever their size', async (method) => {
    const received: { path: string; headers: object; digest: string }[] = []
    await scene.start(async (call, stream) => {
      const parts: Uint8Array[] = []
      for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) parts.push(bytes)
      const whole = await new Blob(parts).arrayBuffer()
      received.push({ path: `${call.method} ${call.path}`, headers: call.headers, digest: await digest(whole) })
      guestAnswers(stream, 200, { path: '/a b', size: whole.byteLength })
    })
    for (const size of [0, 1, 65_536, 65_537, 3_000_000]) {
      const body = pattern(size)
      const response = await ask(scene.at('/files/upload?path=/a%20b%26c&mode=0755'), { method, key: scene.key, body })
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
    await scene.start(async (call, stream) => {
      expect(call.headers['content-length']).toBeUndefined()
      for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) size += bytes.length
      guestAnswers(stream, 200, { path: '/x', size })
    })
    let left = 20
    const body = new ReadableStream({
      pull: (controller) => (left-- > 0 ? controller.enqueue(pattern(50_000)) : controller.close()),
    })
    expect(await answer(scene.at('/files/upload?path=/x'), { key: scene.key, body })).toEqual({
      path: '/x',
      size: 1_000_000,
    })
  })

  test.each([0, 1, 65_536, 65_537, 3_000_000])('of %i bytes are downloaded as they are', async (size) => {
    const body = pattern(size)
    await scene.start((_call, stream) => {
      accept(stream, {
        status: 200,
        headers: { 'Content-Length': String(size), 'Content-Type': 'text/html', 'Set-Cookie': 'a=b', ETag: '"1"' },
      })
      if (size > 0) void stream.write(body)
      stream.end()
    })
    const response = await ask(scene.at('/files/download?path=/x'), { key: scene.key })
    expect(response.headers.get('content-length')).toBe(String(size))
    expect(response.headers.get('content-type')).toBe('application/octet-stream')
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(response.headers.get('etag')).toBe('"1"')
    expect(response.headers.get('set-cookie')).toBeNull()
    expect(await digest(await response.arrayBuffer())).toBe(await digest(body))
  })

  test('are downloaded in ranges, and HEAD tells their length', async () => {
    const runner = await scene.start((call, stream) => {
      const headers = { 'content-range': 'bytes 1-2/10', 'content-length': '2' }
      accept(stream, { status: call.method === 'HEAD' ? 200 : 206, headers })
      if (call.method === 'GET') void stream.write(pattern(2))
      stream.end()
    })
    const ranged = { range: 'bytes=1-2', 'if-range': '"v1"' }
    const part = await ask(scene.at('/files/download?path=/x'), { key: scene.key, headers: ranged })
    expect(part.status).toBe(206)
    expect(part.headers.get('content-range')).toBe('bytes 1-2/10')
    expect((await part.arrayBuffer()).byteLength).toBe(2)
    const head = await ask(scene.at('/files/download?path=/x'), { key: scene.key, method: 'HEAD' })
    expect(head.status).toBe(200)
    expect(head.headers.get('content-length')).toBe('2')
    expect(await head.text()).toBe('')
    expect(runner.calls.slice(1)).toMatchObject([{ method: 'GET', headers: ranged }, { method: 'HEAD' }])
  })

  test('say 416 of a range that they do not have', async () => {
    await scene.start((_call, stream) => {
      accept(stream, { status: 416, headers: { 'content-type': 'text/plain', 'content-range': 'bytes */10' } })
      stream.end()
    })
    const asked = { key: scene.key, headers: { range: 'bytes=20-' } }
    expect(await refusal(scene.at('/files/download?path=/x'), asked)).toMatchObject({ status: 416 })
  })

  test('of a directory are listed by name, with details', async () => {
    const entries = [
      { name: 'a.txt', type: 'file', size: 3, mode: '0644', modified_at: '2026-01-01T00:00:00Z' },
      { name: 'süb', type: 'directory', size: 0, mode: '0755', modified_at: '2026-01-01T00:00:00Z' },
    ]
    const runner = await scene.start((_call, stream) => guestAnswers(stream, 200, { path: '/app', entries }))
    expect(await answer(scene.at('/files?path=/app'), { key: scene.key })).toEqual({
      path: '/app',
      entries: ['a.txt', 'süb'],
      details: entries,
    })
    expect(runner.calls.at(-1)).toMatchObject({ method: 'GET', path: '/files/list?path=%2Fapp' })
  })

  test('of a directory that the guest lists as nonsense are not passed on', async () => {
    await scene.start((_call, stream) => guestAnswers(stream, 200, { path: '/app', entries: [{ name: 1 }] }))
    expect(await refusal(scene.at('/files?path=/app'), { key: scene.key })).toMatchObject({
      status: 502,
      code: 'guest_error',
    })
  })

  test.each(['', 'relative', '../../etc/passwd', 'a%00b', '%2Fa%00b'])(
    'with the path %j are refused here',
    async (path) => {
      const runner = await scene.start(undefined)
      for (const [to, request] of [
        ['/files/download', {}],
        ['/files', {}],
        ['/files/upload', { body: 'x' }],
      ] as const) {
        const refused = await refusal(scene.at(`${to}?path=${path}`), { key: scene.key, ...request })
        expect(refused).toMatchObject({ status: 400, code: 'invalid_path' })
      }
      expect(runner.count('guest.request')).toBe(0)
    },
  )

  test('with a mode that is none are refused here', async () => {
    await scene.start(undefined)
    for (const mode of ['rwx', '9', '07777777', '']) {
      const refused = await refusal(scene.at(`/files/upload?path=/x&mode=${mode}`), { key: scene.key, body: 'x' })
      expect(refused).toMatchObject({ status: 400, code: 'invalid_request' })
    }
  })

  test('that do not fit are refused while they are still being sent', async () => {
    await scene.start(async (_call, stream) => {
      await stream.read()
      guestAnswers(stream, 507, { error: { code: 'no_space', message: 'cannot write the file: the disk is full' } })
    })
    const refused = await refusal(scene.at('/files/upload?path=/x'), { key: scene.key, body: pattern(8_000_000) })
    expect(refused).toMatchObject({ status: 507, code: 'no_space' })
  })
})
