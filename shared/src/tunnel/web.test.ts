import { describe, expect, test } from 'vitest'
import { pair, turn } from '../../testing/link.ts'
import { AppError } from '../errors.ts'
import { splice } from './splice.ts'
import { abortError, pump, readable, resetOnAbort } from './web.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const slim = () => pair({ window: 16_384 }, { window: 16_384 })

/** A source that counts what was taken from it and how it was cancelled. */
function source(chunks: readonly unknown[], failure?: unknown) {
  const state = { pulled: 0, cancelled: undefined as unknown }
  const stream = new ReadableStream<unknown>(
    {
      pull(controller) {
        if (state.pulled < chunks.length) controller.enqueue(chunks[state.pulled++])
        else if (failure) controller.error(failure)
        else controller.close()
      },
      cancel(reason) {
        state.cancelled = reason
      },
    },
    { highWaterMark: 0 },
  ) as ReadableStream<Uint8Array>
  return { state, stream }
}

/** A source of no bytes and no end. */
function silentSource() {
  const cancelled = Promise.withResolvers<unknown>()
  return { stream: new ReadableStream<Uint8Array>({ cancel: (reason) => cancelled.resolve(reason) }), cancelled }
}

describe('readable', () => {
  test('gives all bytes and the end', async () => {
    const { near, far } = await slim()
    void pump(source([bytes('one '), bytes('two')]).stream, far)
    expect(await new Response(readable(near)).text()).toBe('one two')
  })

  test('takes nothing from the stream that nobody reads', async () => {
    const { near, far } = await slim()
    readable(near)
    const { state, stream } = source(Array.from({ length: 100 }, () => new Uint8Array(16_384)))
    void pump(stream, far).catch(() => undefined)
    for (let count = 0; count < 20; count++) await turn()
    expect(state.pulled).toBeLessThanOrEqual(2)
    near.reset({ code: 'cancelled', message: 'cannot: done' })
  })

  test('cancelling resets the stream at both ends', async () => {
    const { near, far } = await slim()
    await readable(near).cancel()
    expect((await far.done)?.code).toBe('cancelled')
    expect((await near.done)?.code).toBe('cancelled')
  })

  test('a reset fails the reader with its error', async () => {
    const { near, far } = await slim()
    const reader = readable(near).getReader()
    const waiting = reader.read()
    far.reset({ code: 'no_space', message: 'cannot write: full' })
    await expect(waiting).rejects.toMatchObject({ code: 'no_space' })
  })
})

describe('pump', () => {
  test('many windows go through, in order', async () => {
    const { near, far } = await slim()
    const chunks = Array.from({ length: 50 }, (_, index) => new Uint8Array(5000).fill(index))
    const pumped = pump(source(chunks).stream, near)
    const whole = await new Response(readable(far)).bytes()
    await pumped
    expect(Buffer.from(whole).equals(Buffer.concat(chunks))).toBe(true)
  })

  test('an empty source ends the stream', async () => {
    const { near, far } = await slim()
    await pump(source([]).stream, near)
    expect(await far.read()).toBeUndefined()
  })

  test('a source that fails resets the stream, and its text stays here', async () => {
    const { near, far } = await slim()
    await expect(pump(source([bytes('x')], new Error('secret')).stream, near)).rejects.toMatchObject({
      code: 'cancelled',
    })
    const ended = await far.done
    expect(ended?.toWire()).toEqual({ code: 'cancelled', message: 'cannot send the body: its source failed' })
  })

  test('a source of something else than bytes resets the stream', async () => {
    const { near, far } = await slim()
    await expect(pump(source(['text']).stream, near)).rejects.toMatchObject({ code: 'cancelled' })
    expect((await far.done)?.code).toBe('cancelled')
  })

  test('a stream that ends first cancels a source that waits', async () => {
    const { near, far } = await slim()
    const { stream, cancelled } = silentSource()
    const pumped = pump(stream, near)
    far.reset({ code: 'sandbox_not_running', message: 'cannot: stopped' })
    await expect(pumped).rejects.toMatchObject({ code: 'sandbox_not_running' })
    expect(await cancelled.promise).toMatchObject({ code: 'sandbox_not_running' })
  })

  test('a signal resets the stream and cancels the source', async () => {
    const { near, far } = await slim()
    const { stream, cancelled } = silentSource()
    const controller = new AbortController()
    const pumped = pump(stream, near, controller.signal)
    controller.abort(new AppError('deadline', 'cannot wait: late'))
    await expect(pumped).rejects.toMatchObject({ code: 'deadline' })
    expect(await cancelled.promise).toMatchObject({ code: 'deadline' })
    expect((await far.done)?.code).toBe('deadline')
  })
})

describe('signals', () => {
  test('a signal that aborted before resets at once', async () => {
    const { near } = await slim()
    resetOnAbort(near, AbortSignal.abort())
    expect((await near.done)?.code).toBe('cancelled')
  })

  test('a signal that aborts after the stream was unbound does nothing', async () => {
    const { near, far } = await slim()
    const controller = new AbortController()
    resetOnAbort(near, controller.signal)()
    controller.abort()
    near.end()
    far.end()
    expect(await near.done).toBeUndefined()
  })

  test('an error of the table is the reason, anything else is cancelled', () => {
    expect(abortError(AbortSignal.abort(new AppError('deadline', 'cannot: late'))).code).toBe('deadline')
    expect(abortError(AbortSignal.abort('why')).code).toBe('cancelled')
  })
})

describe('splice', () => {
  async function spliced() {
    const left = await slim()
    const right = await slim()
    return { first: left.near, last: right.near, joined: splice(left.far, right.far), left, right }
  }

  test('carries bytes and each end on its own', async () => {
    const { first, last, joined } = await spliced()
    await first.write(bytes('to'))
    first.end()
    expect(Buffer.from((await last.read()) ?? '').toString()).toBe('to')
    expect(await last.read()).toBeUndefined()
    await last.write(bytes('fro'))
    last.end()
    expect(Buffer.from((await first.read()) ?? '').toString()).toBe('fro')
    expect(await first.read()).toBeUndefined()
    expect(await joined).toBeUndefined()
  })

  test('carries a reset across, with its error', async () => {
    const { first, last, joined } = await spliced()
    first.reset({ code: 'no_space', message: 'cannot write: full' })
    expect((await last.done)?.toWire()).toEqual({ code: 'no_space', message: 'cannot write: full' })
    expect((await joined)?.code).toBe('no_space')
  })

  test('the loss of one connection ends the stream of the other', async () => {
    const { last, joined, left } = await spliced()
    left.runner.close()
    expect((await last.done)?.code).toBe('edge_disconnected')
    expect((await joined)?.code).toBe('edge_disconnected')
  })

  test('a reset after one half has ended is still carried', async () => {
    const { first, last, joined } = await spliced()
    first.end()
    expect(await last.read()).toBeUndefined()
    last.reset({ code: 'cancelled', message: 'cannot: away' })
    expect((await first.done)?.code).toBe('cancelled')
    await joined
  })

  test('a reset by the side that has ended its half reaches the other, which only waits', async () => {
    const { first, last, joined } = await spliced()
    first.end()
    expect(await last.read()).toBeUndefined()
    first.reset({ code: 'cancelled', message: 'cannot: away' })
    expect((await last.done)?.code).toBe('cancelled')
    await joined
  })

  test('a slow reader slows the far writer', async () => {
    const { first, last } = await spliced()
    let isDone = false
    const written = first.write(new Uint8Array(500_000)).then(() => {
      isDone = true
    })
    for (let count = 0; count < 30; count++) await turn()
    expect(isDone).toBe(false)
    let got = 0
    for (; got < 500_000; got += (await last.read())?.length ?? 0);
    await written
  })
})
