import { randomBytes } from 'node:crypto'
import { duplexPair } from 'node:stream'
import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { FakeGuest, type GuestBehaviour } from '../vm/fake/guest.ts'
import { GuestChannel } from './channel.ts'
import type { GuestResponse } from './http.ts'

const signal = new AbortController().signal

async function openOn(behaviour: GuestBehaviour = {}): Promise<{ channel: GuestChannel; guest: FakeGuest }> {
  const [ours, theirs] = duplexPair()
  const guest = new FakeGuest(behaviour, () => undefined)
  guest.attach(theirs)
  return { channel: await GuestChannel.open(ours, { signal, again: false }), guest }
}

async function* pieces(...all: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const piece of all) yield Buffer.from(piece)
}

async function textOf(response: GuestResponse): Promise<string> {
  return (await bytesOf(response)).toString('utf8')
}

async function bytesOf(response: GuestResponse): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const bytes of response.body) parts.push(bytes)
  return Buffer.concat(parts)
}

it('carries a request and its answer', async () => {
  const { channel } = await openOn()
  const body = pieces('{"shell":', '"echo hi"}')
  const response = await channel.request({ method: 'POST', path: '/exec', body, signal })
  expect(response.status).toBe(200)
  expect(response.headers).not.toHaveProperty('connection')
  expect(JSON.parse(await textOf(response))).toMatchObject({ exit_code: 0, stdout: 'hi\n' })
})

it('carries bodies larger than the window both ways, unchanged', async () => {
  const { channel } = await openOn()
  const content = randomBytes(3_000_000)
  const headers = { 'content-length': String(content.length) }
  const put = { method: 'PUT', path: '/files?path=/a', headers, body: pieces(content), signal }
  expect(JSON.parse(await textOf(await channel.request(put)))).toEqual({ path: '/a', size: content.length })
  const got = await channel.request({ method: 'GET', path: '/files?path=/a', signal })
  expect(got.headers['content-length']).toBe(String(content.length))
  expect((await bytesOf(got)).equals(content)).toBe(true)
})

it('carries an empty body with and without a length', async () => {
  const { channel, guest } = await openOn()
  await textOf(await channel.request({ method: 'PUT', path: '/files?path=/a', body: pieces(), signal }))
  await textOf(await channel.request({ method: 'PUT', path: '/files?path=/b', signal }))
  expect([guest.files.get('/a')?.length, guest.files.get('/b')?.length]).toEqual([0, 0])
})

it('carries a body that is at hand as a whole, an empty one too', async () => {
  const { channel, guest } = await openOn()
  for (const text of ['whole', '']) {
    await textOf(await channel.request({ method: 'PUT', path: '/files?path=/a', body: Buffer.from(text), signal }))
    expect(String(guest.files.get('/a'))).toBe(text)
  }
})

it('does not hang where the body is shorter or longer than it says', async () => {
  const { channel } = await openOn()
  for (const length of ['2', '9']) {
    const put = {
      method: 'PUT',
      path: '/files?path=/a',
      headers: { 'content-length': length },
      body: pieces('12345'),
      signal,
    }
    await expect(channel.request(put)).rejects.toMatchObject({ code: 'invalid_request' })
  }
})

it('carries many requests at once', async () => {
  const { channel } = await openOn()
  const ask = async (word: number) => {
    const body = pieces(JSON.stringify({ argv: ['echo', String(word)] }))
    return JSON.parse(await textOf(await channel.request({ method: 'POST', path: '/exec', body, signal }))).stdout
  }
  const answers = await Promise.all(Array.from({ length: 50 }, (_, word) => ask(word)))
  expect(answers).toEqual(Array.from({ length: 50 }, (_, word) => `${word}\n`))
})

it('leaves no stream behind', async () => {
  const { channel } = await openOn()
  for (let round = 0; round < 20; round++)
    await textOf(await channel.request({ method: 'GET', path: '/health', signal }))
  await textOf(await channel.request({ method: 'GET', path: '/nowhere', signal }))
  await expect.poll(() => channel.open).toBe(0)
})

it('ends a command in the guest when its caller goes away', async () => {
  const started = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  const { channel } = await openOn({
    exec: async (_asked, gone) => {
      gone.addEventListener('abort', () => ended.resolve())
      started.resolve()
      await ended.promise
      return {}
    },
  })
  const caller = new AbortController()
  const asked = channel.request({ method: 'POST', path: '/exec', body: pieces('{}'), signal: caller.signal })
  await started.promise
  caller.abort(new AppError('cancelled', 'cannot go on: the caller went away'))
  await expect(asked).rejects.toMatchObject({ code: 'cancelled' })
  await ended.promise
  await expect.poll(() => channel.open).toBe(0)
})

it('stops an answer in the middle when its reader goes away', async () => {
  const { channel, guest } = await openOn()
  guest.files.set('/big', Buffer.alloc(5_000_000))
  const caller = new AbortController()
  const response = await channel.request({ method: 'GET', path: '/files?path=/big', signal: caller.signal })
  const reader = response.body[Symbol.asyncIterator]()
  await reader.next()
  caller.abort(new AppError('cancelled', 'cannot go on: the caller went away'))
  const rest = (async () => {
    while (!(await reader.next()).done);
  })()
  await expect(rest).rejects.toMatchObject({ code: 'cancelled' })
  await expect.poll(() => channel.open).toBe(0)
})

const hostile: [string, string][] = [
  ['what is not HTTP', 'SSH-2.0-nonsense\r\n\r\n'],
  ['nothing', ''],
  ['a status below 200', 'HTTP/1.1 199 X\r\ncontent-length: 0\r\n\r\n'],
  ['a status above 599', 'HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n'],
  ['another protocol', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
  ['a head that is too long', `HTTP/1.1 200 OK\r\na: ${'x'.repeat(20_000)}\r\n\r\n`],
  ['too many headers', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(100)}content-length: 0\r\n\r\n`],
  ['a broken header', 'HTTP/1.1 200 OK\r\nno colon\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
]

it.each(hostile)('answers guest_error where the guest sends %s, and goes on', async (_what, bytes) => {
  const { channel } = await openOn({ raw: (path) => (path === '/evil' ? Buffer.from(bytes) : undefined) })
  await expect(channel.request({ method: 'GET', path: '/evil', signal })).rejects.toMatchObject({ code: 'guest_error' })
  expect((await channel.request({ method: 'GET', path: '/health', signal })).status).toBe(200)
})

it.each([
  ['a body shorter than its length', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc'],
  ['a broken chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n'],
])('fails the body where the guest sends %s', async (_what, bytes) => {
  const { channel } = await openOn({ raw: () => Buffer.from(bytes) })
  const response = await channel.request({ method: 'GET', path: '/evil', signal })
  await expect(textOf(response)).rejects.toMatchObject({ code: 'guest_error' })
})

it('never hangs or crashes on random answers', async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.string().map((text) => Buffer.from(`HTTP/1.1 200 OK\r\n${text}`)),
  )
  let next: Uint8Array = Buffer.alloc(0)
  const { channel } = await openOn({ raw: () => next })
  await fc.assert(
    fc.asyncProperty(bytes, async (answer) => {
      next = answer
      const asked = channel.request({ method: 'GET', path: '/x', signal }).then(textOf)
      await asked.catch((error: unknown) => expect(error).toBeInstanceOf(AppError))
    }),
  )
})

it('discards what stood in the port before the preamble', async () => {
  const { channel } = await openOn({ noise: randomBytes(100_000) })
  expect((await channel.request({ method: 'GET', path: '/health', signal })).status).toBe(200)
})

it('gives up on a guest that only makes noise', async () => {
  const [ours, theirs] = duplexPair()
  const opening = GuestChannel.open(ours, { signal, again: false })
  theirs.on('error', () => undefined)
  theirs.write(Buffer.alloc(5 * 2 ** 20, 1))
  await expect(opening).rejects.toMatchObject({ code: 'protocol_error' })
  expect(ours.destroyed).toBe(true)
})

it('makes an agent that missed the end of a session start a new one', async () => {
  const clock = new FakeClock()
  const [ours, theirs] = duplexPair()
  const seen: number[] = []
  theirs.on('data', (bytes: Buffer) => seen.push(bytes.length))
  const opening = GuestChannel.open(ours, { signal, again: true, clock })
  await clock.advance(249)
  expect(seen).toEqual([])
  await clock.advance(1)
  await expect.poll(() => seen.reduce((sum, length) => sum + length, 0)).toBe(65_552)
  theirs.destroy()
  await expect(opening).rejects.toMatchObject({ code: 'guest_disconnected' })
})

it('makes an agent start a new session at once where that is known to stand in an old one', async () => {
  const [ours, theirs] = duplexPair()
  const guest = new FakeGuest({ noise: randomBytes(1000) }, () => undefined)
  guest.attach(theirs)
  const channel = await GuestChannel.open(ours, { signal, again: 'now', clock: new FakeClock() })
  expect((await channel.request({ method: 'GET', path: '/health', signal })).status).toBe(200)
})

it('lets a guest stand still for as long as nobody watches', async () => {
  const clock = new FakeClock()
  const [ours, theirs] = duplexPair()
  const guest = new FakeGuest({}, () => undefined)
  guest.attach(theirs)
  const channel = await GuestChannel.open(ours, { signal, again: false, clock, keepalive: false })
  theirs.removeAllListeners('data')
  theirs.resume()
  await clock.advance(3_600_000)
  channel.startKeepalive()
  await clock.advance(20_000)
  channel.stopKeepalive()
  await clock.advance(3_600_000)
  expect([ours.destroyed, clock.pending]).toEqual([false, 0])
  channel.startKeepalive()
  await clock.advance(25_000)
  expect(await channel.closed).toMatchObject({ code: 'guest_disconnected' })
})

it('gives up opening when it is told to, and closes the port', async () => {
  const [ours] = duplexPair()
  const caller = new AbortController()
  const opening = GuestChannel.open(ours, { signal: caller.signal, again: false })
  caller.abort(new AppError('boot_failed', 'cannot boot: too late'))
  await expect(opening).rejects.toMatchObject({ code: 'boot_failed' })
  expect(ours.destroyed).toBe(true)
})

it('ends when the guest is silent for too long', async () => {
  const clock = new FakeClock()
  const [ours, theirs] = duplexPair()
  const guest = new FakeGuest({}, () => undefined)
  guest.attach(theirs)
  const channel = await GuestChannel.open(ours, { signal, again: false, clock })
  theirs.removeAllListeners('data')
  theirs.resume()
  await clock.advance(25_000)
  expect(await channel.closed).toMatchObject({ code: 'guest_disconnected' })
})

it('fails requests under way with the reason it is closed with', async () => {
  const { channel } = await openOn({ exec: () => new Promise(() => undefined) })
  const asked = channel.request({ method: 'POST', path: '/exec', body: pieces('{}'), signal })
  channel.close(new AppError('sandbox_not_running', 'cannot go on: the sandbox was destroyed'))
  await expect(asked).rejects.toMatchObject({ code: 'sandbox_not_running' })
})
