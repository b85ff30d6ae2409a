/** Commands in the sandbox: what the agent is asked, what of its answer is believed, and what a wrong route costs. */

import { answer as accept } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { read, refusal } from './client.ts'
import { done, GuestScene } from './guest-scene.ts'
import { guestAnswers, readAll, refusing } from './scripted-runner.ts'

const scene = new GuestScene()
describe('exec', () => {
  test('asks the agent as the protocol says and passes its answer through', async () => {
    const asked: unknown[] = []
    const runner = await scene.start(async (call, stream) => {
      asked.push(JSON.parse(await readAll(stream)), call)
      guestAnswers(stream, 200, { ...done, extra: 'from a newer agent' })
    })
    const stdin = 'grüße'
    const response = await scene.exec({ command: 'echo hi', timeout: 2.5, env: { A: '1' }, cwd: '/app', stdin })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(await response.json()).toEqual({ ...done, extra: 'from a newer agent' })
    const base64 = btoa(String.fromCharCode(...new TextEncoder().encode(stdin)))
    expect(asked[0]).toEqual({ shell: 'echo hi', timeout_ms: 2500, env: { A: '1' }, cwd: '/app', stdin: base64 })
    expect(asked[1]).toMatchObject({
      op: 'guest.request',
      sandbox: scene.id,
      generation: 1,
      method: 'POST',
      path: '/exec',
      request_id: response.headers.get('x-request-id'),
    })
    await scene.exec({ command: ['echo', 'a b'] })
    expect(asked[2]).toEqual({ argv: ['echo', 'a b'], timeout_ms: 30_000 })
    expect(runner.count('guest.request')).toBe(2)
  })

  test('with a non-zero exit is an ordinary answer', async () => {
    await scene.start((_call, stream) => guestAnswers(stream, 200, { ...done, exit_code: 127, stderr: 'not found\n' }))
    const response = await scene.exec({ command: 'nothing' })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ exit_code: 127 })
  })

  test('passes an answer of many megabytes through as it comes', async () => {
    const stdout = 'x'.repeat(5_000_000)
    await scene.start((_call, stream) => guestAnswers(stream, 200, { ...done, stdout }))
    expect(await (await scene.exec({ command: 'yes' })).json()).toMatchObject({ stdout })
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
    const runner = await scene.start((_call, stream) =>
      guestAnswers(stream, told, { error: { code, message: 'cannot do it:\nreally' } }),
    )
    const refused = await read(await scene.exec({ command: 'x' }))
    expect(refused).toMatchObject({ status, code: status === 502 ? 'guest_error' : code })
    expect(refused.error).toContain('cannot do it: really')
    expect(runner.count('guest.request')).toBe(1)
  })

  test('a guest that answers nonsense is a bad gateway', async () => {
    await scene.start((_call, stream) => {
      accept(stream, { status: 500, headers: { 'content-type': 'text/html' } })
      void stream.write(new TextEncoder().encode('<h1>ha</h1>'))
      stream.end()
    })
    expect(await read(await scene.exec({ command: 'x' }))).toMatchObject({ status: 502, code: 'guest_error' })
  })

  test('a guest that sends more than it announced is cut off', async () => {
    await scene.start((_call, stream) => {
      accept(stream, { status: 200, headers: { 'content-length': '3' } })
      void stream.write(new TextEncoder().encode('more than three'))
      stream.end()
    })
    expect(await read(await scene.exec({ command: 'x' }))).toMatchObject({ status: 502, code: 'guest_error' })
  })

  test('a runner that sends a head which is none breaks that call alone', async () => {
    let calls = 0
    await scene.start((_call, stream) => {
      if (calls++ === 0) return stream.accept(new TextEncoder().encode('{"ok":true,"status":99}'))
      guestAnswers(stream, 200, done)
    })
    expect(await read(await scene.exec({ command: 'x' }))).toMatchObject({ status: 502, code: 'protocol_error' })
    expect((await scene.exec({ command: 'x' })).status).toBe(200)
  })
})

describe('a runner that does not have the sandbox', () => {
  test('is believed once the route was looked up anew', async () => {
    let calls = 0
    const runner = await scene.start((_call, stream) => {
      calls++
      if (calls === 2) return refusing({ code: 'moved', message: 'cannot: another generation' })(_call, stream)
      if (calls > 3) return refusing({ code: 'sandbox_not_found', message: 'cannot find it' })(_call, stream)
      guestAnswers(stream, 200, done)
    })
    expect((await scene.exec({ command: 'x' })).status).toBe(200)
    expect((await scene.exec({ command: 'x' })).status).toBe(200)
    expect(runner.count('guest.request')).toBe(3)
    expect(await read(await scene.exec({ command: 'x' }))).toMatchObject({ status: 404, code: 'sandbox_not_found' })
    expect(runner.count('guest.request')).toBe(5)
  })

  test('is not asked again when bytes of the caller are used up', async () => {
    let calls = 0
    const runner = await scene.start((call, stream) => {
      if (calls++ === 0) return guestAnswers(stream, 200, done)
      return refusing({ code: 'moved', message: 'cannot: another generation' })(call, stream)
    })
    await scene.exec({ command: 'x' })
    const upload = await refusal(scene.at('/files/upload?path=/x'), { key: scene.key, body: 'bytes' })
    expect(upload).toMatchObject({ status: 421, code: 'moved', retryable: true })
    expect(runner.count('guest.request')).toBe(2)
  })
})
