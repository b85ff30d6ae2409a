import { FakeClock } from '@portico/shared/clock'
import { AppError, type WireError } from '@portico/shared/errors'
import type { TunnelStream } from '@portico/shared/tunnel'
import { expect, test } from 'vitest'
import { readNews, statusLimitMs } from './read-news.ts'

const figures = {
  op: 'runner.status',
  session: 's',
  version: '1',
  accelerator: 'tcg',
  draining: false,
  vcpus: 2,
  free_mem_mib: 1000,
  free_slots: 3,
  images: [],
}
const bytes = (value: object) => new TextEncoder().encode(JSON.stringify(value))
const list = [{ sandbox: 'runa', generation: 1, state: 'running' }]

/** A stream whose body ends when the test says so. */
function arriving(body: Uint8Array) {
  const end = Promise.withResolvers<undefined>()
  const chunks = [body]
  const stream = {
    read: () => chunks.shift() ?? end.promise,
    reset: ({ code, message }: WireError) => end.reject(new AppError(code, message)),
  } as unknown as TunnelStream
  return { stream, end: () => end.resolve(undefined) }
}

test('a list in the body is waited for, and then not hurried any more', async () => {
  const clock = new FakeClock()
  const { stream, end } = arriving(bytes(list))
  const read = readNews(stream, bytes({ ...figures, body: 'sandboxes' }), clock)
  await clock.advance(statusLimitMs - 1)
  end()
  expect(await read).toMatchObject({ op: 'runner.status', sandboxes: list })
  await clock.advance(statusLimitMs)
})

test('a list that does not end within the limit is refused', async () => {
  const clock = new FakeClock()
  const { stream } = arriving(bytes(list))
  const read = readNews(stream, bytes({ ...figures, body: 'sandboxes' }), clock)
  const refused = expect(read).rejects.toMatchObject({ code: 'deadline' })
  await clock.advance(statusLimitMs)
  await refused
})

test('what is complete with its head waits for nothing', async () => {
  const { stream } = arriving(bytes([]))
  const event = { op: 'sandbox.event', sequence: 4, ...list[0] }
  expect(await readNews(stream, bytes(event), new FakeClock())).toEqual(event)
  expect(await readNews(stream, bytes({ ...figures, sandboxes: list }), new FakeClock())).toMatchObject({
    sandboxes: list,
  })
})
