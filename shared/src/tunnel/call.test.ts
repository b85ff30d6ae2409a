import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { link, turn } from '../../testing/link.ts'
import { AppError } from '../errors.ts'
import { answer, call, parseHead, refuse } from './call.ts'
import type { TunnelStream } from './types.ts'
import { readable } from './web.ts'

const schema = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), value: z.number() }),
  z.object({ ok: z.literal(false), error: z.object({ code: z.string(), message: z.string() }) }),
])
const asked = z.object({ op: z.literal('add'), by: z.number() })
const { signal } = new AbortController()
const bytes = (text: string) => new TextEncoder().encode(text)

function withAcceptor(onStream: (stream: TunnelStream, head: Uint8Array) => void) {
  return link({ window: 16_384 }, { window: 16_384, onStream }).edge
}

/** Answers with a stream that the acceptor's side of the test holds. */
function held() {
  const accepted = Promise.withResolvers<TunnelStream>()
  const muxer = withAcceptor((stream) => accepted.resolve(stream))
  return { muxer, accepted: accepted.promise }
}

describe('a call', () => {
  test('gets the answer and its body', async () => {
    const muxer = withAcceptor((stream, head) => {
      const { by } = parseHead(head, asked)
      answer(stream, { value: by + 1, later: 'unknown' })
      stream.write(bytes('body')).catch(() => undefined)
      stream.end()
    })
    const { answer: got, stream } = await call(muxer, { op: 'add', by: 2 }, schema, { signal })
    expect(got).toEqual({ ok: true, value: 3 })
    expect(await new Response(readable(stream)).text()).toBe('body')
    expect(await stream.done).toBeUndefined()
    expect(muxer.openStreams).toBe(0)
  })

  test('sends a body of bytes or a stream', async () => {
    const echo = async (stream: TunnelStream) => {
      const text = await new Response(readable(stream)).text()
      answer(stream, { value: text.length })
      stream.end()
    }
    const muxer = withAcceptor((stream) => void echo(stream))
    const body = bytes('x'.repeat(50_000))
    for (const one of [body, new Response(body).body, undefined]) {
      const { answer: got } = await call(muxer, {}, schema, { signal, body: one ?? undefined })
      expect(got.value).toBe(one ? 50_000 : 0)
    }
  })

  test('that is refused rejects with the error of the acceptor and leaves no stream', async () => {
    const muxer = withAcceptor((stream) => refuse(stream, new AppError('moved', 'cannot run here: it moved')))
    await expect(call(muxer, {}, schema, { signal })).rejects.toMatchObject({
      code: 'moved',
      message: 'cannot run here: it moved',
    })
    await turn()
    expect(muxer.openStreams).toBe(0)
  })

  test('that is refused with a code of a later generation is internal', async () => {
    const muxer = withAcceptor((stream) => {
      stream.accept(bytes('{"ok":false,"error":{"code":"new_code","message":"cannot: new"}}'))
      stream.end()
    })
    await expect(call(muxer, {}, schema, { signal })).rejects.toMatchObject({
      code: 'internal',
      message: 'cannot: new',
    })
  })

  test('that is refused while its body is on the way cancels the source', async () => {
    const cancelled = Promise.withResolvers<unknown>()
    const body = new ReadableStream<Uint8Array>({ cancel: cancelled.resolve })
    const muxer = withAcceptor((stream) => refuse(stream, { code: 'capacity', message: 'cannot: full' }))
    await expect(call(muxer, {}, schema, { signal, body })).rejects.toMatchObject({ code: 'capacity' })
    await cancelled.promise
    expect(muxer.openStreams).toBe(0)
  })

  test('that is reset rejects with that error', async () => {
    const muxer = withAcceptor((stream) => stream.reset({ code: 'overloaded', message: 'cannot: busy' }))
    await expect(call(muxer, {}, schema, { signal })).rejects.toMatchObject({ code: 'overloaded' })
  })

  test.each(['', 'no', '[]', '{"ok":true}', '{"ok":true,"value":"1"}', '{"ok":"yes"}', '{"ok":false}'])(
    'whose answer is %j is reset as a protocol error',
    async (text) => {
      const { muxer, accepted } = held()
      const made = call(muxer, {}, schema, { signal })
      const stream = await accepted
      stream.accept(bytes(text))
      await expect(made).rejects.toMatchObject({ code: 'protocol_error' })
      expect((await stream.done)?.code).toBe('protocol_error')
      expect(muxer.openStreams).toBe(0)
    },
  )

  test('is reset when its signal aborts before the answer', async () => {
    const { muxer, accepted } = held()
    const controller = new AbortController()
    const made = call(muxer, {}, schema, { signal: controller.signal })
    const stream = await accepted
    controller.abort(new AppError('deadline', 'cannot wait: late'))
    await expect(made).rejects.toMatchObject({ code: 'deadline' })
    expect((await stream.done)?.code).toBe('deadline')
  })

  test('is reset when its signal aborts after the answer', async () => {
    const { muxer, accepted } = held()
    const controller = new AbortController()
    const made = call(muxer, {}, schema, { signal: controller.signal })
    answer(await accepted, { value: 1 })
    const { stream } = await made
    controller.abort()
    await expect(stream.read()).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('whose signal aborted before opens nothing', async () => {
    const { muxer } = held()
    await expect(call(muxer, {}, schema, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'cancelled' })
    expect(muxer.openStreams).toBe(0)
  })

  test('on a connection that ended rejects', async () => {
    const { muxer } = held()
    muxer.close()
    await expect(call(muxer, {}, schema, { signal })).rejects.toMatchObject({ code: 'runner_disconnected' })
  })

  test('whose answer is complete before its body is stops the body', async () => {
    const cancelled = Promise.withResolvers<unknown>()
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(60_000)),
      cancel: cancelled.resolve,
    })
    const { muxer, accepted } = held()
    const made = call(muxer, {}, schema, { signal, body })
    const far = await accepted
    answer(far, { value: 1 })
    far.write(bytes('no room')).catch(() => undefined)
    far.end()
    const { stream } = await made
    expect(await new Response(readable(stream)).text()).toBe('no room')
    await cancelled.promise
    await turn()
    expect(muxer.openStreams).toBe(0)
  })
})

describe('a head', () => {
  test('that a peer got wrong is told by its place', () => {
    expect(() => parseHead(bytes('{"op":"add","by":"1"}'), asked)).toThrow(
      "cannot read the peer's call: wrong head at by",
    )
    expect(() => parseHead(bytes('nothing'), asked)).toThrow('its head is not JSON')
    expect(() => parseHead(Uint8Array.of(0xff), asked)).toThrow('its head is not JSON')
  })

  test('may have fields that nobody knows', () => {
    expect(parseHead(bytes('{"op":"add","by":1,"more":2}'), asked)).toEqual({ op: 'add', by: 1 })
  })
})
