/** A command whose output is told as it comes: what the agent is asked, what the caller sees and when, and how it ends. */

import type { TunnelStream } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { answer, ask, read, refusal } from './client.ts'
import { GuestScene, notedCalls, pattern, someProcess } from './guest-scene.ts'
import { EventReader, end, stdout, tell, tellsOutput } from './process-guest.ts'
import { guestAnswers, readAll, refusing } from './scripted-runner.ts'

const scene = new GuestScene()
const first = { event: 'process', data: { id: someProcess.id } }

function stream(json: object, query = ''): Promise<Response> {
  return ask(scene.at(`/exec/stream${query}`), { key: scene.key, json })
}

describe('exec/stream', () => {
  test('asks the agent to be followed, and tells each piece as it comes', async () => {
    let asked: unknown
    const go = Promise.withResolvers<void>()
    const runner = await scene.start(async (_call, guest) => {
      asked = JSON.parse(await readAll(guest))
      tellsOutput(guest)
      await go.promise
      await tell(guest, stdout(0, 'one\n'), { kind: 'nothing', offset: 4 })
    })
    const response = await stream({ command: 'make', timeout: 2, user: 'nobody', env: { A: '1' }, cwd: '/app' })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(asked).toEqual({
      shell: 'make',
      timeout_ms: 2000,
      user: 'nobody',
      env: { A: '1' },
      cwd: '/app',
      follow: true,
    })
    expect(runner.calls.at(-1)).toMatchObject({ method: 'POST', path: '/processes' })
    const events = new EventReader(response)
    expect(await events.next()).toEqual(first)
    go.resolve()
    expect(await events.next()).toEqual({ event: 'stdout', id: '4', data: { data: 'one\n' } })
    expect(await events.next()).toEqual({ event: 'heartbeat', data: {} })
    await events.cancel()
  })

  test('ends with how the command ended, which is noted', async () => {
    await scene.start(async (_call, guest) => {
      tellsOutput(guest)
      await tell(guest, stdout(0, 'hi\n'), end(3, 7))
      guest.end()
    })
    const events = await new EventReader(await stream({ command: ['echo', 'hi'] })).rest()
    expect(events).toEqual([
      first,
      { event: 'stdout', id: '3', data: { data: 'hi\n' } },
      { event: 'exit', id: '3', data: { exit_code: 7, timed_out: false, duration_ms: 3 } },
    ])
    expect(await notedCalls(scene, 2)).toMatchObject([
      { event: 'exec.start', data: { command: ['echo', 'hi'] } },
      { event: 'exec.exit', data: { exit_code: 7 } },
    ])
  })

  test('is refused as any call is, before it has begun', async () => {
    await scene.start(refusing({ code: 'overloaded', message: 'cannot run: full' }))
    expect(await read(await stream({ command: 'x' }))).toMatchObject({ status: 503, code: 'overloaded' })
    expect(await read(await stream({}))).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(await read(await stream({ command: 'x', detach: true }))).toMatchObject({ status: 400 })
    expect(await read(await stream({ command: 'x' }, '?encoding=utf9'))).toMatchObject({ status: 400 })
    const unknown = `/v1/runs/run${'a'.repeat(26)}/exec/stream`
    expect(await refusal(unknown, { key: scene.key, json: { command: 'x' } })).toMatchObject({ status: 404 })
  })

  test('whose guest refuses the command is no stream', async () => {
    await scene.start((_call, guest) =>
      guestAnswers(guest, 400, { error: { code: 'invalid_path', message: 'no cwd' } }),
    )
    expect(await read(await stream({ command: 'x', cwd: '/none' }))).toMatchObject({
      status: 400,
      code: 'invalid_path',
    })
  })

  test('that the tunnel cuts says so, and that it may be tried again', async () => {
    const runner = await scene.start(async (_call, guest) => {
      tellsOutput(guest)
      await tell(guest, stdout(0, 'so far\n'))
    })
    const events = new EventReader(await stream({ command: 'sleep 1000' }))
    await events.next()
    await events.next()
    runner.cut()
    expect(await events.rest()).toMatchObject([
      {
        event: 'error',
        data: { code: 'runner_disconnected', retryable: true, request_id: expect.stringMatching(/^req/) },
      },
    ])
    expect(await notedCalls(scene, 2)).toMatchObject([{}, { data: { exit_code: null, error: 'runner_disconnected' } }])
  })

  test('of a sandbox that is destroyed meanwhile says that it is gone', async () => {
    let guest: TunnelStream | undefined
    await scene.start(async (_call, opened) => {
      guest = opened
      tellsOutput(opened)
    })
    const events = new EventReader(await stream({ command: 'sleep 1000' }))
    await events.next()
    await answer(scene.at(''), { key: scene.key, method: 'DELETE' })
    guest?.reset({ code: 'sandbox_not_found', message: 'cannot go on: destroyed' })
    expect(await events.rest()).toMatchObject([
      { event: 'error', data: { code: 'sandbox_not_found', retryable: false } },
    ])
  })

  test.each([
    ['without its end', (guest: TunnelStream) => tell(guest, stdout(0, 'half')), 'runner_disconnected'],
    ['with nonsense', (guest: TunnelStream) => guest.write(new Uint8Array(13).fill(0xff)), 'guest_error'],
    [
      'with an end that is none',
      (guest: TunnelStream) => tell(guest, { ...end(0), kind: 'end', json: '[]' }),
      'guest_error',
    ],
  ])('of a guest that stops %s ends in an error', async (_how, say, code) => {
    await scene.start(async (_call, guest) => {
      tellsOutput(guest)
      await say(guest)
      guest.end()
    })
    const events = await new EventReader(await stream({ command: 'x' })).rest()
    expect(events.at(-1)).toMatchObject({ event: 'error', data: { code } })
  })

  test('whose caller goes away ends the command, which is noted', async () => {
    const ended = Promise.withResolvers<string | undefined>()
    await scene.start(async (_call, guest) => {
      tellsOutput(guest)
      ended.resolve((await guest.done)?.code)
    })
    const events = new EventReader(await stream({ command: 'sleep 1000' }))
    await events.next()
    await events.cancel()
    expect(await ended.promise).toBe('cancelled')
    expect(await notedCalls(scene, 2)).toMatchObject([{}, { data: { exit_code: null, error: 'cancelled' } }])
  })

  test('whose caller reads slowly holds the command: nothing gathers on the way', async () => {
    let sent = 0
    await scene.start(async (_call, guest) => {
      tellsOutput(guest)
      const bytes = pattern(32_768)
      const write = async () => {
        for (;;) {
          await tell(guest, { kind: 'stdout', offset: sent, bytes })
          sent += bytes.length
        }
      }
      await write().catch(() => undefined)
    })
    const events = new EventReader(await stream({ command: 'yes' }, '?encoding=base64'))
    let got = 0
    for (let turn = 0; turn < 100; turn++) {
      got = Number((await events.next())?.id ?? got)
      expect(sent - got).toBeLessThan(1_048_576)
    }
    expect(got).toBeGreaterThan(3_000_000)
    await events.cancel()
  })
})

describe('exec with detach', () => {
  test('answers with the process at once, which has no timeout unless one is given', async () => {
    const asked: unknown[] = []
    await scene.start(async (_call, guest) => {
      asked.push(JSON.parse(await readAll(guest)))
      guestAnswers(guest, 200, { ...someProcess, extra: 1 })
    })
    const response = await scene.exec({ command: 'serve', detach: true })
    expect(response.status).toBe(201)
    expect(await response.json()).toEqual(someProcess)
    await scene.exec({ command: 'serve', detach: true, timeout: 60 })
    expect(asked).toEqual([{ shell: 'serve' }, { shell: 'serve', timeout_ms: 60_000 }])
    const data = { process: someProcess.id, command: 'serve' }
    expect(await notedCalls(scene, 2)).toEqual([
      { event: 'process.started', data },
      { event: 'process.started', data },
    ])
  })
})
