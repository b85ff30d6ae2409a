/** Channels: sockets joined to each other and to files of a sandbox, and what an eviction, a break or nobody at an end costs. */

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { uuidOf } from '@portico/shared/ids'
import { answer as accept, type TunnelStream } from '@portico/shared/tunnel'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { refusal } from './client.ts'
import { FileGuest } from './file-guest.ts'
import { GuestScene, pattern } from './guest-scene.ts'
import { ChannelEnd, type ChannelRef, type Envelope, IiiWorker, joinChannel } from './iii-worker.ts'

const scene = new GuestScene()
let guest: FileGuest
let worker: IiiWorker
let sandbox_id: string

beforeEach(async () => {
  guest = new FileGuest()
  await scene.start(guest.serve)
  worker = await IiiWorker.connect(scene.key)
  sandbox_id = uuidOf(scene.id as never)
}, 30_000)
afterEach(() => worker?.leave())

interface Pair {
  readonly writer: ChannelRef
  readonly reader: ChannelRef
}

const create = () => worker.trigger<Pair>('engine::channels::create', { buffer_size: 64 })
const stub = ({ channel_id }: ChannelRef) => env.III_CHANNELS.get(env.III_CHANNELS.idFromName(channel_id))
const gone = (ref: ChannelRef) =>
  expect
    .poll(async () => (await joinChannel(ref, ref.direction)).status, { message: 'the channel is forgotten' })
    .toBe(404)

function isSame(one: Uint8Array | undefined, other: Uint8Array): boolean {
  return one?.length === other.length && one.every((byte, at) => byte === other[at])
}

/** The object loses its memory, whatever goes on in it. */
async function lose(ref: ChannelRef): Promise<void> {
  await runInDurableObject(stub(ref), (_object, state) => state.abort('the test says so')).catch(() => undefined)
}

/** Some time passes, and the alarm goes off. */
async function later(ref: ChannelRef, ms: number): Promise<void> {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })
  try {
    await runDurableObjectAlarm(stub(ref))
  } finally {
    vi.useRealTimers()
  }
}

/** What a reader is told of a channel that broke. */
function brokenOf({ texts, closed }: ChannelEnd): object {
  const { code, message } = JSON.parse(texts.at(-1) ?? '{}') as Envelope
  return { code, message, closed: closed?.code }
}

describe('between two clients', () => {
  test('what is written comes out in order, in frames of at most 64 KiB, and the close with it', async () => {
    const { writer, reader } = await create()
    expect(writer).toEqual({ ...reader, direction: 'write' })
    const [write, read] = [await ChannelEnd.join(writer), await ChannelEnd.join(reader)]
    const sent = pattern(200_000)
    write.socket.send('hello')
    write.socket.send(sent)
    write.socket.send('bye')
    write.socket.close(1000, 'stream_complete')
    expect(isSame(await read.all(), sent)).toBe(true)
    expect(Math.max(...read.lengths)).toBe(65_536)
    expect(read.texts).toEqual(['hello', 'bye'])
    expect(read.closed).toEqual({ code: 1000, reason: 'stream_complete' })
    await gone(reader)
  })

  test('what is written before anybody reads waits for the reader, over an eviction, too', async () => {
    const { writer, reader } = await create()
    const write = await ChannelEnd.join(writer)
    write.socket.send('first')
    write.socket.send(pattern(100_000))
    write.socket.send('last')
    write.socket.close(1000, 'stream_complete')
    await write.all()
    await evictDurableObject(stub(reader))
    const read = await ChannelEnd.join(reader)
    expect(isSame(await read.all(), pattern(100_000))).toBe(true)
    expect(read.texts).toEqual(['first', 'last'])
    expect(read.closed?.code).toBe(1000)
  })

  test('an object that is lost in the middle ends both', async () => {
    const { writer, reader } = await create()
    const [write, read] = [await ChannelEnd.join(writer), await ChannelEnd.join(reader)]
    write.socket.send('before')
    await expect.poll(() => read.texts).toEqual(['before'])
    await lose(reader)
    await Promise.all([write.all(), read.all()])
    expect([write.closed?.code, read.closed?.code]).not.toContain(1000)
    expect((await joinChannel(reader, 'read')).status).toBe(404)
  })

  test('each end is for one, and for whoever has id and key', async () => {
    const { writer, reader } = await create()
    const [write, read] = [await ChannelEnd.join(writer), await ChannelEnd.join(reader)]
    expect((await joinChannel(writer, 'write')).status).toBe(409)
    expect((await joinChannel(reader, 'read')).status).toBe(409)
    const other = await create()
    for (const wrong of [
      { ...reader, access_key: other.reader.access_key },
      { ...reader, channel_id: crypto.randomUUID() },
      { ...reader, channel_id: 'nonsense' },
      { ...reader, access_key: '' },
    ]) {
      expect((await joinChannel(wrong, 'read')).status).toBe(404)
    }
    expect((await joinChannel(other.reader, 'sideways')).status).toBe(400)
    const path = `/iii/ws/channels/${other.reader.channel_id}?key=${other.reader.access_key}&dir=read`
    expect(await refusal(path)).toMatchObject({ status: 400 })
    write.socket.close(1000, '')
    await read.all()
  })

  test('a reader that goes away ends the writer', async () => {
    const { writer, reader } = await create()
    const [write, read] = [await ChannelEnd.join(writer), await ChannelEnd.join(reader)]
    read.socket.close(1000, 'channel_close')
    await write.all()
    expect(write.closed).toEqual({ code: 1011, reason: 'S218: the reader went away' })
    await later(reader, 61_000)
    await gone(reader)
  })

  test('a writer that breaks off is told to the reader', async () => {
    const { writer, reader } = await create()
    const [write, read] = [await ChannelEnd.join(writer), await ChannelEnd.join(reader)]
    write.socket.close(4000, 'broken')
    await read.all()
    expect(brokenOf(read)).toEqual({ code: 'S218', message: 'channel aborted: the writer broke off', closed: 1011 })
  })

  test('an end that is missing for five minutes ends it', async () => {
    const { writer, reader } = await create()
    const write = await ChannelEnd.join(writer)
    await later(writer, 290_000)
    expect(write.closed).toBeUndefined()
    await later(writer, 301_000)
    await write.all()
    expect(write.closed).toEqual({ code: 1011, reason: 'S218: an end was missing for 5 minutes' })
    expect((await joinChannel(reader, 'read')).status).toBe(404)
  })
})

describe('into a file', () => {
  const start = async (path = '/tmp/file') => {
    const { writer, reader } = await create()
    const written = worker.invoke('sandbox::fs::write', { sandbox_id, path, content: reader })
    return { writer, reader, written, write: await ChannelEnd.join(writer) }
  }
  const faultOf = async (written: ReturnType<IiiWorker['invoke']>) =>
    JSON.parse((await written).error?.message ?? '') as Envelope

  test('what is written arrives whole', async () => {
    const { written, write, reader } = await start()
    const sent = pattern(3_000_000)
    for (let at = 0; at < sent.length; at += 65_536) write.socket.send(sent.subarray(at, at + 65_536))
    write.socket.send('a message is no content')
    write.socket.close(1000, 'stream_complete')
    expect((await written).result).toEqual({ bytes_written: 3_000_000, path: '/tmp/file' })
    expect(isSame(guest.entries.get('/tmp/file')?.bytes, sent)).toBe(true)
    await gone(reader)
  })

  test('what was written before the call counts, and an empty file is one', async () => {
    for (const text of ['early', '']) {
      const { writer, reader } = await create()
      const write = await ChannelEnd.join(writer)
      if (text !== '') write.socket.send(new TextEncoder().encode(text))
      write.socket.close(1000, '')
      await write.all()
      const written = worker.trigger('sandbox::fs::write', { sandbox_id, path: '/tmp/file', content: reader })
      expect(await written).toMatchObject({ bytes_written: text.length })
      expect(guest.text('/tmp/file')).toBe(text)
    }
  })

  test('a writer that breaks off leaves the file as it was', async () => {
    guest.put('/tmp/file', 'before')
    const { written, write } = await start()
    write.socket.send(pattern(100))
    await expect.poll(() => guest.paths).toContain('PUT /files')
    write.socket.close(4000, '')
    expect(await faultOf(written)).toMatchObject({ code: 'S218', type: 'transient', retryable: true })
    expect(guest.text('/tmp/file')).toBe('before')
  })

  test('what the sandbox refuses ends the channel', async () => {
    guest.refusals.set('PUT /files', 'no_space')
    const { written, write } = await start()
    write.socket.send(pattern(100))
    expect(await faultOf(written)).toMatchObject({ code: 'S216' })
    await write.all()
    expect(write.closed?.code).toBe(1011)
  })

  test('nobody who writes is S218 after five minutes', async () => {
    const { reader } = await create()
    const written = worker.invoke('sandbox::fs::write', { sandbox_id, path: '/tmp/file', content: reader })
    await expect
      .poll(() => runInDurableObject(stub(reader), (_object, state) => state.storage.kv.get('channel')))
      .toMatchObject({ reader: 'taken' })
    await later(reader, 301_000)
    expect(await faultOf(written)).toMatchObject({ code: 'S218' })
    expect(guest.paths).not.toContain('PUT /files')
  })

  test('an object that is lost in the middle ends both sides', async () => {
    guest.put('/tmp/file', 'before')
    const { reader, written, write } = await start()
    write.socket.send(pattern(100))
    await expect.poll(() => guest.paths).toContain('PUT /files')
    await lose(reader)
    expect(await faultOf(written)).toMatchObject({ code: 'S218' })
    await write.all()
    expect(guest.text('/tmp/file')).toBe('before')
  })

  test('another account’s channel is none', async () => {
    const { reader } = await create()
    await runInDurableObject(stub(reader), (_object, state) => {
      state.storage.kv.put('channel', { ...(state.storage.kv.get('channel') as object), account: 'somebody else' })
    })
    await evictDurableObject(stub(reader))
    const written = worker.invoke('sandbox::fs::write', { sandbox_id, path: '/tmp/file', content: reader })
    expect(await faultOf(written)).toMatchObject({ code: 'S218', message: expect.stringContaining('there is none') })
  })
})

describe('out of a file', () => {
  const read = async (path: string) =>
    (await worker.trigger<{ content: ChannelRef }>('sandbox::fs::read', { sandbox_id, path })).content

  test('what is in it is read when somebody reads', async () => {
    const content = pattern(3_000_000)
    guest.put('/tmp/big', content)
    const ref = await read('/tmp/big')
    expect((await joinChannel(ref, 'write')).status).toBe(409)
    expect(guest.paths).not.toContain('GET /files')
    const end = await ChannelEnd.join(ref)
    expect(isSame(await end.all(), content)).toBe(true)
    expect(Math.max(...end.lengths)).toBeLessThanOrEqual(65_536)
    expect(end.closed?.code).toBe(1000)
    await gone(ref)
  })

  test('an empty file ends at once', async () => {
    guest.put('/tmp/empty', '')
    const end = await ChannelEnd.join(await read('/tmp/empty'))
    expect(await end.all()).toHaveLength(0)
    expect(end.closed?.code).toBe(1000)
  })

  test('a file that is gone by then is told', async () => {
    guest.put('/tmp/file', 'text')
    const ref = await read('/tmp/file')
    guest.entries.delete('/tmp/file')
    const end = await ChannelEnd.join(ref)
    await end.all()
    expect(brokenOf(end)).toMatchObject({ code: 'S218', closed: 1011 })
  })

  test('an object that is lost in the middle ends the reader', async () => {
    const slowly = await slow()
    const end = await ChannelEnd.join(slowly.ref)
    await expect.poll(() => end.length).toBe(1000)
    await lose(slowly.ref)
    await end.all()
    expect(end.closed?.code).not.toBe(1000)
  })

  test('a reader that goes away ends the reading', async () => {
    const slowly = await slow()
    const end = await ChannelEnd.join(slowly.ref)
    await expect.poll(() => end.length).toBe(1000)
    end.socket.close(1000, '')
    const stream = await slowly.stream
    const isReset = () =>
      stream.write(pattern(1)).then(
        () => false,
        () => true,
      )
    await expect.poll(isReset).toBe(true)
  })

  /** A file whose second half never comes. */
  async function slow() {
    guest.put('/tmp/slow', pattern(2_000_000))
    const ref = await read('/tmp/slow')
    const opened = Promise.withResolvers<TunnelStream>()
    guest.answers.set('GET /files', async (stream) => {
      accept(stream, { status: 200, headers: { 'Content-Length': '2000000' } })
      await stream.write(pattern(1000))
      opened.resolve(stream)
    })
    return { ref, stream: opened.promise }
  }
})
