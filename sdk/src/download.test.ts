import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Interceptor, WireServer } from '../test/wire-server.ts'
import { Portico, type SandboxFiles } from './index.ts'

const route = 'GET /v1/runs/*/files/download'
const content = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 31) & 255)

let wire: WireServer
let portico: Portico
let files: SandboxFiles

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  files = (await portico.create({ image: 'python' })).files
  await files.write('/big', content)
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

async function whole(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  return Buffer.from(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer())
}

/** Sends so many bytes of the file, from where it is asked to, and breaks off. */
function cutAfter(count: number, headers: Readonly<Record<string, string>>): Interceptor {
  return (seen, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(seen.headers.range ?? '')?.[1] ?? 0)
    response.writeHead(from === 0 ? 200 : 206, { ...headers, 'content-length': content.length - from })
    response.write(content.subarray(from, from + count), () => response.destroy())
  }
}

/** Sends the rest. */
function rest(headers: Readonly<Record<string, string>>): Interceptor {
  return (seen, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(seen.headers.range ?? '')?.[1] ?? 0)
    response.writeHead(206, headers).end(content.subarray(from))
  }
}

const ranges = () => wire.requests.map(({ headers }) => headers.range).filter((range) => range !== undefined)

describe('a download', () => {
  it('begins where it is told', async () => {
    expect((await whole(await files.stream('/big', { from: 99_990 }))).equals(content.subarray(99_990))).toBe(true)
    expect(ranges()).toEqual(['bytes=99990-'])
  })

  it('begins there also where the file tells no size and comes whole', async () => {
    wire.intercept(route, (_seen, response) => response.writeHead(200).end(content))
    expect((await whole(await files.stream('/big', { from: 70_000 }))).equals(content.subarray(70_000))).toBe(true)
  })

  it.each([
    ['ETag', { etag: '"one"' }, '"one"'],
    [
      'Last-Modified',
      { etag: 'W/"weak"', 'last-modified': 'Fri, 02 Jan 2026 03:04:05 GMT' },
      'Fri, 02 Jan 2026 03:04:05 GMT',
    ],
  ])('goes on where it broke off, again and again, while its %s is the same', async (_what, headers, version) => {
    wire.intercept(route, cutAfter(30_000, headers))
    wire.intercept(route, cutAfter(50_000, headers))
    wire.intercept(route, rest(headers))
    expect((await whole(await files.stream('/big'))).equals(content)).toBe(true)
    expect(ranges()).toEqual(['bytes=30000-', 'bytes=80000-'])
    expect(wire.requests.slice(-2).map((seen) => seen.headers['if-range'])).toEqual([version, version])
  })

  it('goes on so for who reads the whole of it, too', async () => {
    wire.intercept(route, cutAfter(30_000, { etag: '"one"' }))
    wire.intercept(route, rest({ etag: '"one"' }))
    expect(Buffer.from(await files.read('/big')).equals(content)).toBe(true)
  })

  it('does not put two files together', async () => {
    wire.intercept(route, cutAfter(30_000, { etag: '"one"' }))
    // As the platform answers when the tag is another one.
    await expect(files.read('/big')).rejects.toMatchObject({
      name: 'ConflictError',
      message: 'cannot read /big: it has changed meanwhile',
    })
    wire.intercept(route, cutAfter(30_000, { etag: '"one"' }))
    // As somebody answers who takes no notice of If-Range.
    wire.intercept(route, rest({ etag: '"two"' }))
    await expect(files.read('/big')).rejects.toMatchObject({ code: 'conflict' })
  })

  it('ends with the break where nothing names the version', async () => {
    wire.intercept(route, cutAfter(30_000, {}))
    await expect(files.read('/big')).rejects.toMatchObject({ name: 'UnavailableError' })
    expect(ranges()).toEqual([])
  })

  it('ends with its signal, also while it waits to be made again', async () => {
    const controller = new AbortController()
    wire.intercept(route, cutAfter(30_000, { etag: '"one"' }))
    wire.fail(route, 'runner_disconnected', 100)
    const reading = files.stream('/big', { signal: controller.signal }).then(whole)
    while (wire.count(route) < 2) await wire.arrival(route)
    controller.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
  })
})
