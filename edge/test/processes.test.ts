/** Processes that live on by themselves: how they are started, read, written to, signalled and forgotten by way of the front door. */

import { encodeOutput, type OutputRecord, recordsType } from '@portico/shared/process-records'
import type { TunnelStream } from '@portico/shared/tunnel'
import { describe, expect, test } from 'vitest'
import { adminKey, answer, ask, read, refusal } from './client.ts'
import { GuestScene, notedCalls, pattern, someProcess } from './guest-scene.ts'
import { EventReader, end, stdout, tell, tellsOutput } from './process-guest.ts'
import { guestAnswers, readAll, refusing } from './scripted-runner.ts'

const scene = new GuestScene()
const exited = { ...someProcess, state: 'exited', ending: { exit_code: 0, timed_out: false, duration_ms: 3 } }

function at(path = ''): string {
  return scene.at(`/processes${path}`)
}

function spawn(json: object, headers: Record<string, string> = {}): Promise<Response> {
  return ask(at(), { key: scene.key, json, headers })
}

/** One process's path. */
function its(path = ''): string {
  return at(`/${someProcess.id}${path}`)
}

function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return ask(path, { key: scene.key, headers })
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  return new Uint8Array(await response.arrayBuffer())
}

function joined(...records: readonly OutputRecord[]): Uint8Array {
  return Uint8Array.from(records.flatMap((record) => [...encodeOutput(record)]))
}

describe('a process', () => {
  test('is started as asked, and the answer is what its agent says of it', async () => {
    let asked: unknown
    await scene.start(async (_call, guest) => {
      asked = JSON.parse(await readAll(guest))
      guestAnswers(guest, 200, someProcess)
    })
    const tty = { cols: 120, rows: 40 }
    const wanted = { user: 'nobody:nogroup', timeout: 1.5, stdin_open: true, tty, buffer_bytes: 65_536 }
    const response = await spawn({ command: ['bash', '-l'], stdin: 'é', ...wanted })
    expect(response.status).toBe(201)
    expect(await response.json()).toEqual(someProcess)
    const { timeout: _timeout, ...same } = wanted
    expect(asked).toEqual({ argv: ['bash', '-l'], stdin: 'w6k=', timeout_ms: 1500, ...same })
    const data = { process: someProcess.id, command: ['bash', '-l'] }
    expect(await notedCalls(scene, 1)).toEqual([{ event: 'process.started', data }])
  })

  test('is listed, read, waited for, resized, signalled and forgotten', async () => {
    const asked: unknown[] = []
    await scene.start(async (call, guest) => {
      const body = await readAll(guest)
      asked.push([call.method, call.path, ...(body === '' ? [] : [JSON.parse(body)])])
      guestAnswers(guest, 200, call.path === '/processes' ? { processes: [exited] } : exited)
    })
    const { key } = scene
    expect(await answer(at(), { key })).toEqual({ processes: [exited] })
    expect(await answer(its(), { key })).toEqual(exited)
    expect(await answer(its('/wait?timeout=1.5'), { key })).toEqual(exited)
    expect(await answer(its('/wait'), { key })).toEqual(exited)
    expect(await answer(its('/resize'), { key, json: { cols: 100 } })).toEqual(exited)
    expect(await answer(its('/signal'), { key, json: { signal: 'SIGINT' } })).toEqual(exited)
    expect(await answer(its(), { key, method: 'DELETE' })).toEqual(exited)
    const { id } = someProcess
    expect(asked).toEqual([
      ['GET', '/processes'],
      ['GET', `/processes/status?id=${id}`],
      ['GET', `/processes/wait?id=${id}&timeout_ms=1500`],
      ['GET', `/processes/wait?id=${id}&timeout_ms=60000`],
      ['POST', `/processes/resize?id=${id}`, { cols: 100, rows: 24 }],
      ['POST', `/processes/signal?id=${id}`, { signal: 'SIGINT' }],
      ['DELETE', `/processes?id=${id}`],
    ])
    expect(await notedCalls(scene, 2)).toEqual([
      { event: 'process.signalled', data: { process: id, signal: 'SIGINT' } },
      { event: 'process.deleted', data: { process: id } },
    ])
  })

  test('that is not there, or cannot be, is not found', async () => {
    await scene.start((_call, guest) =>
      guestAnswers(guest, 404, { error: { code: 'not_found', message: 'cannot find the process' } }),
    )
    expect(await refusal(its(), { key: scene.key })).toMatchObject({ status: 404, code: 'not_found' })
    expect(await refusal(its('/output'), { key: scene.key })).toMatchObject({ status: 404, code: 'not_found' })
    const impossible = await refusal(at(`/${'x'.repeat(65)}`), { key: scene.key })
    expect(impossible).toMatchObject({ status: 404, code: 'not_found' })
  })

  test('of which the guest tells nonsense is a bad gateway', async () => {
    await scene.start((_call, guest) => guestAnswers(guest, 200, { ...someProcess, state: 'odd' }))
    expect(await refusal(its(), { key: scene.key })).toMatchObject({ status: 502, code: 'guest_error' })
    expect(await refusal(at(), { key: scene.key })).toMatchObject({ status: 502, code: 'guest_error' })
  })

  test.each([
    '/wait?timeout=61',
    '/wait?timeout=-1',
    '/wait?timeout=1e1',
    '/output?from=-1',
    '/output?from=1.5',
    '/output?follow=yes',
    '/output?encoding=hex',
  ])('is not asked for %s', async (path) => {
    const runner = await scene.start((_call, guest) => guestAnswers(guest, 200, someProcess))
    expect(await refusal(its(path), { key: scene.key })).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(runner.count('guest.request')).toBe(0)
  })
})

describe('an Idempotency-Key', () => {
  test('starts one process, whose answer is repeated', async () => {
    const runner = await scene.start((_call, guest) => guestAnswers(guest, 200, someProcess))
    const once = () => spawn({ command: 'serve' }, { 'idempotency-key': 'one' })
    const [first, second] = [await once(), await once()]
    expect([first.status, second.status]).toEqual([201, 201])
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    expect(await second.json()).toEqual(await first.json())
    expect(runner.count('guest.request')).toBe(1)
  })

  test('of a call that broke off starts no second process', async () => {
    const runner = await scene.start((_call, guest) =>
      guest.reset({ code: 'guest_disconnected', message: 'cannot go on: the agent is gone' }),
    )
    const once = () => spawn({ command: 'serve' }, { 'idempotency-key': 'one' })
    expect(await read(await once())).toMatchObject({ status: 503, code: 'guest_disconnected' })
    expect(await read(await once())).toMatchObject({ status: 409, code: 'conflict', retryable: false })
    expect(runner.count('guest.request')).toBe(1)
  })

  test('of a call that the guest refused is free again', async () => {
    let calls = 0
    await scene.start((call, guest) =>
      calls++ === 0
        ? refusing({ code: 'overloaded', message: 'cannot: full' })(call, guest)
        : guestAnswers(guest, 200, someProcess),
    )
    const once = () => spawn({ command: 'serve' }, { 'idempotency-key': 'one' })
    expect((await once()).status).toBe(503)
    expect((await once()).status).toBe(201)
  })
})

describe('output', () => {
  /** A guest that says what it was asked for, and then so much. */
  function printing(...records: readonly OutputRecord[]): {
    paths: string[]
    guest: (call: { path: string }, guest: TunnelStream) => Promise<void>
  } {
    const paths: string[] = []
    const guest = async ({ path }: { path: string }, stream: TunnelStream) => {
      paths.push(path)
      tellsOutput(stream)
      await tell(stream, ...records)
      stream.end()
    }
    return { paths, guest }
  }

  test('comes as the records that they are, from where the caller stood', async () => {
    const records = [stdout(5, 'hi\n'), { kind: 'nothing', offset: 8 }, end(8)] as const
    const { guest, paths } = printing(...records)
    await scene.start(guest)
    const response = await get(its('/output?from=5'))
    expect(response.headers.get('content-type')).toBe(recordsType)
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(await bytesOf(response)).toEqual(joined(...records))
    expect(paths).toEqual([`/processes/output?id=${someProcess.id}&from=5`])
  })

  test.each([
    [{ accept: 'text/event-stream' }, '?from=3', '3'],
    [{ 'last-event-id': '7' }, '?from=3', '7'],
  ])('comes as events to who asks with %o', async (headers, query, from) => {
    const { guest, paths } = printing(stdout(7, 'hi'), { kind: 'gap', offset: 20, lost: 11 }, end(20))
    await scene.start(guest)
    const response = await get(its(`/output${query}`), headers)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    expect(await new EventReader(response).rest()).toMatchObject([
      { event: 'stdout', id: '9', data: { data: 'hi' } },
      { event: 'gap', id: '20', data: { lost: 11 } },
      { event: 'exit', id: '20', data: { exit_code: 0 } },
    ])
    expect(paths).toEqual([`/processes/output?id=${someProcess.id}&from=${from}`])
  })

  test('in base64 keeps bytes that are no text', async () => {
    const { guest } = printing({ kind: 'stderr', offset: 0, bytes: Uint8Array.of(0, 0xff) }, end(2))
    await scene.start(guest)
    const events = new EventReader(await get(its('/output?encoding=base64'), { accept: 'text/event-stream' }))
    expect(await events.next()).toEqual({ event: 'stderr', id: '2', data: { data: 'AP8=' } })
  })

  test('without following ends with what is there, though the process goes on', async () => {
    const ended = Promise.withResolvers<string | undefined>()
    await scene.start(async ({ path }, guest) => {
      if (path.startsWith('/processes/status')) return guestAnswers(guest, 200, { ...someProcess, output_end: 4 })
      tellsOutput(guest)
      await tell(guest, stdout(0, 'ab'), stdout(2, 'cd'), stdout(4, 'later'))
      ended.resolve((await guest.done)?.code)
    })
    expect(await bytesOf(await get(its('/output?follow=false')))).toEqual(joined(stdout(0, 'ab'), stdout(2, 'cd')))
    expect(await ended.promise).toBe('cancelled')
  })

  test('without following is nothing where there is nothing, and whole with its end where there is one', async () => {
    let state: object = { ...someProcess, output_end: 4 }
    const records = [stdout(0, 'abcd'), end(4)] as const
    const runner = await scene.start(async ({ path }, guest) => {
      if (path.startsWith('/processes/status')) return guestAnswers(guest, 200, state)
      tellsOutput(guest)
      await tell(guest, ...records)
      guest.end()
    })
    expect(await bytesOf(await get(its('/output?follow=false&from=4')))).toEqual(new Uint8Array(0))
    expect(runner.count('guest.request')).toBe(1)
    state = exited
    expect(await bytesOf(await get(its('/output?follow=false')))).toEqual(joined(...records))
  })

  test('asked for by HEAD is not followed', async () => {
    const runner = await scene.start((_call, guest) => guestAnswers(guest, 200, someProcess))
    const response = await ask(its('/output'), { key: scene.key, method: 'HEAD' })
    expect(response.headers.get('content-type')).toBe(recordsType)
    expect(runner.calls.at(-1)).toMatchObject({ path: `/processes/status?id=${someProcess.id}` })
  })

  test('holds the process for nobody who may only read', async () => {
    const { guest, paths } = printing(end(0))
    await scene.start(guest)
    const make = { key: adminKey, json: { region: 'local', scope: 'read-only' } }
    const { key } = await answer<{ key: string }>(`/admin/accounts/${scene.account}/keys`, make)
    expect(await refusal(its('/output?hold=true'), { key })).toMatchObject({ status: 403, code: 'forbidden' })
    expect((await ask(its('/output'), { key })).status).toBe(200)
    expect((await get(its('/output?hold=true'))).status).toBe(200)
    expect(paths.map((path) => path.includes('hold=1'))).toEqual([false, true])
  })

  test('that breaks off breaks records off, and ends events with an error', async () => {
    const runner = await scene.start(async (_call, guest) => {
      tellsOutput(guest)
      await tell(guest, stdout(0, 'so far'))
    })
    const records = await get(its('/output'))
    const events = new EventReader(await get(its('/output'), { accept: 'text/event-stream' }))
    await events.next()
    const rest = events.rest()
    const broken = expect(bytesOf(records)).rejects.toThrow()
    runner.cut()
    await broken
    expect(await rest).toMatchObject([{ event: 'error', data: { retryable: true } }])
  })

  test.each(['application/json', 'text/event-stream'])('whose reader goes away is not read on: %s', async (type) => {
    const ended = Promise.withResolvers<string | undefined>()
    await scene.start(async (_call, guest) => {
      tellsOutput(guest)
      await tell(guest, stdout(0, 'so far'))
      ended.resolve((await guest.done)?.code)
    })
    const response = await get(its('/output'), { accept: type })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await reader.cancel()
    expect(await ended.promise).toBe('cancelled')
  })
})

describe('stdin', () => {
  test('is taken as it comes, from the offset that the caller states, and closed if it says so', async () => {
    const pieces = Promise.withResolvers<TunnelStream>()
    const runner = await scene.start((_call, guest) => pieces.resolve(guest))
    const { readable, writable } = new IdentityTransformStream()
    const writer = writable.getWriter()
    const pending = ask(its('/stdin?at=7&close=true'), { key: scene.key, method: 'POST', body: readable })
    await writer.write(new TextEncoder().encode('first'))
    const guest = await pieces.promise
    expect(new TextDecoder().decode(await guest.read())).toBe('first')
    await writer.write(new TextEncoder().encode('second'))
    expect(new TextDecoder().decode(await guest.read())).toBe('second')
    await writer.close()
    expect(await guest.read()).toBeUndefined()
    guestAnswers(guest, 200, { ...someProcess, stdin_end: 18 })
    expect(await (await pending).json()).toEqual({ stdin_end: 18 })
    expect(runner.calls.at(-1)).toMatchObject({ path: `/processes/stdin?id=${someProcess.id}&at=7&close=1` })
  })

  test('that the process does not take any more is a conflict', async () => {
    await scene.start((_call, guest) =>
      guestAnswers(guest, 409, { error: { code: 'conflict', message: 'cannot write to the process: closed' } }),
    )
    const refused = refusal(its('/stdin'), { key: scene.key, method: 'POST', body: pattern(200_000) })
    expect(await refused).toMatchObject({ status: 409, code: 'conflict' })
  })

  test('without a body closes it alone', async () => {
    const runner = await scene.start((_call, guest) => guestAnswers(guest, 200, someProcess))
    await answer(its('/stdin?close=1'), { key: scene.key, method: 'POST' })
    expect(runner.calls.at(-1)).toMatchObject({ headers: { 'content-length': '0' } })
  })
})
