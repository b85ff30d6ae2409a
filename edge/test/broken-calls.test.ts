/** Calls to the guest that break off: the tunnel ends, the caller goes away or reads slowly. */

import { answer as accept, type TunnelStream } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { answer, ask, read } from './client.ts'
import { done, GuestScene, pattern } from './guest-scene.ts'
import { guestAnswers, ScriptedRunner } from './scripted-runner.ts'

const scene = new GuestScene()
describe('a tunnel that ends', () => {
  test('in the middle of an exec gives a retryable error at once', async () => {
    const runner = await scene.start(() => undefined)
    const call = runner.next('guest.request')
    const pending = scene.exec({ command: 'sleep 1000', timeout: 1000 })
    await call
    runner.cut()
    expect(await read(await pending)).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    const next = await read(await scene.exec({ command: 'x' }))
    expect(next).toMatchObject({ status: 503, code: 'runner_disconnected', retryable: true })
    expect(next.error).toBe('cannot reach the sandbox: its runner is not connected')
  })

  test('in the middle of a download breaks the body off, so that half a file never looks whole', async () => {
    const chunk = pattern(200_000)
    const runner = await scene.start((_call, stream) => {
      accept(stream, { status: 200, headers: { 'content-length': '1000000' } })
      void stream.write(chunk).catch(() => undefined)
    })
    const response = await ask(scene.at('/files/download?path=/x'), { key: scene.key })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect((await reader.read()).done).toBe(false)
    runner.cut()
    const rest = async () => {
      while (!(await reader.read()).done);
    }
    await expect(rest()).rejects.toThrow()
  })

  test('because the runner dialled anew: what was open ends, what comes goes to the new one', async () => {
    const first = await scene.start(() => undefined)
    const call = first.next('guest.request')
    const pending = scene.exec({ command: 'sleep 1000' })
    await call
    const second = await ScriptedRunner.connect(scene.enrolled, {
      'guest.request': (_call, stream) => guestAnswers(stream, 200, done),
    })
    expect(await read(await pending)).toMatchObject({ status: 503, code: 'runner_disconnected' })
    await second.report({ sandboxes: [{ sandbox: scene.id, generation: 1, state: 'running' }] })
    expect((await scene.exec({ command: 'x' })).status).toBe(200)
    expect(first.count('guest.request')).toBe(1)
    await expect.poll(() => first.socket.readyState).toBe(WebSocket.CLOSED)
    expect(await answer(`/v1/runs/${scene.id}`, { key: scene.key })).toMatchObject({ status: 'running' })
  })

  test('because the runner broke the protocol closes it, and the runner may come back', async () => {
    const runner = await scene.start((_call, stream) => guestAnswers(stream, 200, done))
    const closed = new Promise<CloseEvent>((resolve) => runner.socket.addEventListener('close', resolve))
    runner.socket.send(new Uint8Array([0x42, 0, 0, 0, 0, 0, 0, 0]))
    expect((await closed).code).toBe(1002)
    const back = await ScriptedRunner.connect(scene.enrolled, {
      'guest.request': (_call, stream) => guestAnswers(stream, 200, done),
    })
    await back.report({ sandboxes: [{ sandbox: scene.id, generation: 1, state: 'running' }] })
    expect((await scene.exec({ command: 'x' })).status).toBe(200)
  })
})

describe('a caller that goes away', () => {
  const wasReset = (stream: TunnelStream) => stream.done

  test('while it waits ends the call in the sandbox', async () => {
    const ended = Promise.withResolvers<string | undefined>()
    const runner = await scene.start(async (_call, stream) => ended.resolve((await wasReset(stream))?.code))
    const call = runner.next('guest.request')
    const leaving = new AbortController()
    const pending = scene.exec({ command: 'sleep 1000' }, { signal: leaving.signal })
    await call
    leaving.abort()
    await expect(pending).rejects.toThrow()
    expect(await ended.promise).toBe('cancelled')
  })

  test('in the middle of a download stops the sender', async () => {
    const ended = Promise.withResolvers<string | undefined>()
    await scene.start(async (_call, stream) => {
      accept(stream, { status: 200, headers: {} })
      const write = async () => {
        for (;;) await stream.write(pattern(65_536))
      }
      await write().catch(() => undefined)
      ended.resolve((await wasReset(stream))?.code)
    })
    const response = await ask(scene.at('/files/download?path=/x'), { key: scene.key })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await reader.cancel()
    expect(await ended.promise).toBe('cancelled')
  })

  test('in the middle of an upload leaves no half file: the guest sees a reset, not an end', async () => {
    const ended = Promise.withResolvers<string | undefined>()
    await scene.start(async (_call, stream) => {
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
    await expect(
      ask(scene.at('/files/upload?path=/x'), { key: scene.key, body, signal: leaving.signal }),
    ).rejects.toThrow()
    expect(await ended.promise).toBe('cancelled')
  })
})

describe('a slow reader', () => {
  test('holds up its own download and nobody else', async () => {
    let sent = 0
    await scene.start(async (call, stream) => {
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
    const response = await ask(scene.at('/files/download?path=/x'), { key: scene.key })
    for (let turn = 0; turn < 20; turn++) expect((await scene.exec({ command: 'x' })).status).toBe(200)
    expect(sent).toBeLessThan(4_000_000)
    await response.body?.cancel()
  })
})
