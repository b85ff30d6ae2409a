/** Services of a sandbox through the API: what its agent is asked, and what of its answers goes out. */

import { encodeOutput, type OutputRecord, recordsType } from '@portico/shared/process-records'
import { answer as accept, type TunnelStream } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { type Ask, answer, ask, refusal } from './client.ts'
import { GuestScene, notedCalls, someService } from './guest-scene.ts'
import { guestAnswers, readAll, refusing, type Script, type ScriptedRunner } from './scripted-runner.ts'

const scene = new GuestScene()
const at = (path: string) => scene.at(`/services${path}`)
const call = <Answer = unknown>(path: string, more: Ask = {}) => answer<Answer>(at(path), { key: scene.key, ...more })
const encoder = new TextEncoder()

/** A runner whose guest notes what it is asked and answers this. */
async function guestWith(body: unknown, script: Script = {}): Promise<{ asked: unknown[]; runner: ScriptedRunner }> {
  const asked: unknown[] = []
  const runner = await scene.start(async (request, stream) => {
    const text = await readAll(stream)
    asked.push([`${request.method} ${request.path}`, ...(text === '' ? [] : [JSON.parse(text)])])
    guestAnswers(stream, 200, body)
  }, script)
  return { asked, runner }
}

const definition = { cmd: 'redis-server', args: ['--port', '6379'], env: { SECRET: 'x' }, health_port: 6379 }
const whole = {
  ...definition,
  ...{ needs: [], container: false, image: '', restart: 'no', start_timeout_secs: 60, stop_timeout_secs: 10 },
}

describe('a service', () => {
  test('is upserted with its defaults, and noted without its environment', async () => {
    const { asked } = await guestWith({ ...someService, more: 'than is told' })
    expect(await call('/redis', { method: 'PUT', json: definition })).toEqual(someService)
    expect(asked).toEqual([['PUT /services/one?name=redis', whole]])
    const { cmd, args } = definition
    expect(await notedCalls(scene, 1)).toEqual([{ event: 'service.upserted', data: { service: 'redis', cmd, args } }])
  })

  test('is listed, read, started, stopped and deleted', async () => {
    const { asked } = await guestWith(someService)
    expect(await call('/web')).toEqual(someService)
    expect(await call('/web/start', { method: 'POST' })).toEqual(someService)
    expect(await call('/web/stop', { method: 'POST' })).toEqual(someService)
    expect(asked).toEqual([
      ['GET /services/one?name=web'],
      ['POST /services/start?name=web'],
      ['POST /services/stop?name=web'],
    ])
    expect(await notedCalls(scene, 2)).toEqual([
      { event: 'service.started', data: { service: 'web' } },
      { event: 'service.stopped', data: { service: 'web' } },
    ])
  })

  test('is forgotten once it is deleted', async () => {
    const { asked } = await guestWith({ ok: true, deleted: true, more: 1 })
    expect(await call('/web', { method: 'DELETE' })).toEqual({ ok: true, deleted: true })
    expect(asked).toEqual([['DELETE /services/one?name=web']])
    expect(await notedCalls(scene, 1)).toEqual([{ event: 'service.deleted', data: { service: 'web' } }])
  })

  test('is one of a bare list', async () => {
    await guestWith([someService, { ...someService, name: 'x' }])
    expect(await call('')).toEqual([someService, { ...someService, name: 'x' }])
  })

  test('in a container has its image brought first, and says what that starts with', async () => {
    const image = { digest: 'sha256:1', env: { PATH: '/bin' }, workdir: '/srv' }
    const { asked, runner } = await guestWith(someService, {
      'guest.image': (_call, stream) => {
        accept(stream, image)
        stream.end()
      },
    })
    const json = { ...definition, container: true, image: 'postgres' }
    await call('/db', { method: 'PUT', json })
    expect(runner.calls.slice(1).map(({ op }) => op)).toEqual(['guest.image', 'guest.request'])
    expect(runner.calls[1]).toMatchObject({ sandbox: scene.id, generation: 1, image: 'postgres' })
    expect(asked).toEqual([
      ['PUT /services/one?name=db', { ...whole, container: true, image: 'postgres', container_image: image }],
    ])
  })

  test('in a container without an image, or with one that does not come, is refused and not defined', async () => {
    const { asked } = await guestWith(someService, {
      'guest.image': refusing({ code: 'image_unknown', message: 'cannot bring the image: there is none' }),
    })
    const put = (json: object) => refusal(at('/db'), { method: 'PUT', key: scene.key, json })
    expect(await put({ ...definition, container: true })).toMatchObject({
      code: 'invalid_request',
      error: 'cannot create the service: a container needs an image',
    })
    expect(await put({ ...definition, container: true, image: 'x' })).toMatchObject({ code: 'image_unknown' })
    expect(asked).toEqual([])
  })

  test.each(['-x', 'a b', 'ä', 'x'.repeat(64)])('with the name %j is refused here', async (name) => {
    const { asked } = await guestWith(someService)
    const path = at(`/${encodeURIComponent(name)}`)
    expect(await refusal(path, { method: 'PUT', key: scene.key, json: definition })).toMatchObject({
      code: 'invalid_request',
    })
    expect(await refusal(path, { key: scene.key })).toMatchObject({ status: 404, code: 'service_not_found' })
    expect(asked).toEqual([])
  })

  test.each(['service_not_found', 'service_failed'] as const)('may be refused by its agent with %s', async (code) => {
    await scene.start((_call, stream) => guestAnswers(stream, 404, { error: { code, message: 'cannot: so' } }))
    expect(await refusal(at('/web/start'), { method: 'POST', key: scene.key })).toMatchObject({
      code,
      error: 'cannot: so',
    })
  })

  test.each([{}, { ...someService, status: 'fine' }, [someService], 'text'])(
    'of which the agent says %j is not passed on',
    async (body) => {
      await guestWith(body)
      expect(await refusal(at('/web'), { key: scene.key })).toMatchObject({ status: 502, code: 'guest_error' })
    },
  )

  test('runs a command in its container', async () => {
    const done = { stdout: 'o', stderr: '', exit_code: 3, ok: false, timed_out: false, duration_ms: 4 }
    const { asked } = await guestWith(done)
    expect(await call('/db/exec', { json: { cmd: ['psql', '-l'], timeout_secs: 5 } })).toEqual(done)
    expect(asked).toEqual([['POST /services/exec?name=db', { cmd: ['psql', '-l'], timeout_secs: 5 }]])
    expect(await notedCalls(scene, 1)).toEqual([
      { event: 'service.exec', data: { service: 'db', command: ['psql', '-l'], exit_code: 3 } },
    ])
    expect(await refusal(at('/db/exec'), { key: scene.key, json: { cmd: [] } })).toMatchObject({ status: 400 })
  })
})

describe('logs', () => {
  const records: OutputRecord[] = [
    { kind: 'stdout', offset: 5, bytes: encoder.encode('one\n') },
    { kind: 'end', offset: 9, json: '{"exit_code":1,"timed_out":false,"duration_ms":2}' },
    { kind: 'stderr', offset: 9, bytes: encoder.encode('two\n') },
  ]
  const told = (stream: TunnelStream) => {
    accept(stream, { status: 200, headers: { 'content-type': recordsType } })
    for (const record of records) void stream.write(encodeOutput(record)).catch(() => undefined)
    stream.end()
  }

  test('go on after an end, as records', async () => {
    const runner = await scene.start((_call, stream) => told(stream))
    const response = await ask(at('/web/logs?from=5&follow=false'), { key: scene.key })
    expect(response.headers.get('content-type')).toBe(recordsType)
    const expected = Uint8Array.from(records.flatMap((record) => [...encodeOutput(record)]))
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(expected)
    expect(runner.calls.at(-1)).toMatchObject({
      method: 'GET',
      path: '/services/logs?name=web&from=5&follow=false',
    })
  })

  test('are events where those are asked for', async () => {
    await scene.start((_call, stream) => told(stream))
    const headers = { accept: 'text/event-stream' }
    const response = await ask(at('/web/logs'), { key: scene.key, headers })
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(await response.text()).toBe(
      [
        'event: stdout\nid: 9\ndata: {"data":"one\\n"}\n\n',
        'event: exit\nid: 9\ndata: {"exit_code":1,"timed_out":false,"duration_ms":2}\n\n',
        'event: stderr\nid: 13\ndata: {"data":"two\\n"}\n\n',
      ].join(''),
    )
  })

  test('that break off say so', async () => {
    const runner = await scene.start((_call, stream) => {
      accept(stream, { status: 200, headers: { 'content-type': recordsType } })
      for (const record of records.slice(0, 1)) void stream.write(encodeOutput(record)).catch(() => undefined)
    })
    const headers = { accept: 'text/event-stream' }
    const { body } = await ask(at('/web/logs'), { key: scene.key, headers })
    const reader = (body as ReadableStream<Uint8Array>).getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toContain('one')
    runner.cut()
    const text = new TextDecoder().decode((await reader.read()).value)
    expect(text).toMatch(/^event: error\ndata: .*"code":"runner_disconnected"/)
  })
})
