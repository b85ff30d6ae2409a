import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WireServer } from '../test/wire-server.ts'
import { type FileContent, Portico, type SandboxFiles, ValidationError } from './index.ts'

let wire: WireServer
let portico: Portico
let files: SandboxFiles
let stored: (path: string) => string | undefined

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  const sandbox = await portico.create({ image: 'python' })
  files = sandbox.files
  stored = (path) => wire.sandboxes.get(sandbox.id)?.files.get(path)?.bytes.toString()
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

const large = 5 * 2 ** 20

function chunks(...texts: string[]): ReadableStream<Uint8Array> {
  return ReadableStream.from(texts.map((text) => new TextEncoder().encode(text)))
}

describe('write', () => {
  it.each<[string, () => FileContent]>([
    ['text', () => 'ö and more'],
    ['bytes', () => new TextEncoder().encode('ö and more')],
    ['a Buffer that is a part of a larger one', () => Buffer.from('xx ö and more').subarray(3)],
    ['a Blob', () => new Blob(['ö and', ' more'])],
    ['a stream', () => chunks('ö and', ' more')],
  ])('sends %s', async (_what, content) => {
    expect(await files.write('/app/a file?.txt', content())).toEqual({ path: '/app/a file?.txt', size: 11 })
    expect(stored('/app/a file?.txt')).toBe('ö and more')
    expect(wire.requests.at(-1)?.headers['content-type']).toBe('application/octet-stream')
  })

  it('sends an empty file', async () => {
    expect(await files.write('/empty', '')).toEqual({ path: '/empty', size: 0 })
    expect(await files.write('/empty-stream', chunks())).toEqual({ path: '/empty-stream', size: 0 })
    expect(await files.readText('/empty')).toBe('')
  })

  it('sends permission bits in octal, and none unless told', async () => {
    await files.write('/run.sh', '#!/bin/sh', { mode: 0o755 })
    expect(wire.requests.at(-1)?.query.get('mode')).toBe('755')
    await files.write('/note', 'x')
    expect(wire.requests.at(-1)?.query.has('mode')).toBe(false)
  })

  it('reads a stream as it is sent and not before', async () => {
    const first = Promise.withResolvers<void>()
    let pulled = 0
    const source = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          pulled++
          first.resolve()
          controller.enqueue(new Uint8Array(2 ** 20))
          if (pulled === 4) controller.close()
        },
      },
      { highWaterMark: 0 },
    )
    expect(pulled).toBe(0)
    expect(await files.write('/big', source)).toEqual({ path: '/big', size: 4 * 2 ** 20 })
  })

  it('throws the error of a stream that breaks off, and leaves no file', async () => {
    const source = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new Uint8Array(10)),
      pull: () => {
        throw new RangeError('the disk is scratched')
      },
    })
    await expect(files.write('/half', source)).rejects.toThrow(new RangeError('the disk is scratched'))
    expect(stored('/half')).toBeUndefined()
  })

  it('refuses what it cannot send before it asks anything', async () => {
    const wrong = Readable.from(['x']) as unknown as FileContent
    await expect(files.write('/x', wrong)).rejects.toBeInstanceOf(ValidationError)
    expect(wire.count('POST /v1/runs/*')).toBe(0)
  })

  it('throws the refusal of the platform', async () => {
    await expect(files.write('relative', 'x')).rejects.toMatchObject({ code: 'invalid_path', status: 400 })
  })
})

describe('read', () => {
  it('answers with the bytes, whole and unchanged', async () => {
    const content = new Uint8Array(large).map((_, index) => (index * 31) & 255)
    await files.write('/big', content)
    const read = await files.read('/big')
    const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
    expect(hash(read)).toBe(hash(content))
  })

  it('answers with text', async () => {
    await files.write('/note', 'grüß dich\n')
    expect(await files.readText('/note')).toBe('grüß dich\n')
  })

  it('tells a file that is not there', async () => {
    await expect(files.read('/nowhere')).rejects.toMatchObject({ name: 'NotFoundError', code: 'file_not_found' })
  })

  it('streams', async () => {
    await files.write('/big', new Uint8Array(large))
    let size = 0
    for await (const chunk of await files.stream('/big')) size += chunk.length
    expect(size).toBe(large)
  })

  it('lets go of the connection when a stream is cancelled', async () => {
    wire.intercept('GET /v1/runs/*', async (seen, response) => {
      response.writeHead(200).write('first')
      await seen.abandoned
    })
    const arrived = wire.arrival('GET /v1/runs/*')
    const reader = (await files.stream('/endless')).getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('first')
    await reader.cancel()
    await (await arrived).abandoned
  })

  it('ends a stream with the reason of its signal', async () => {
    wire.intercept('GET /v1/runs/*', (_seen, response) => response.writeHead(200).write('first'))
    const controller = new AbortController()
    const reader = (await files.stream('/endless', { signal: controller.signal })).getReader()
    await reader.read()
    controller.abort(new Error('enough'))
    await expect(reader.read()).rejects.toThrow('enough')
  })

  it('tells a stream that broke off from one that ended', async () => {
    wire.intercept('GET /v1/runs/*', (_seen, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('first', () => response.destroy())
    })
    await expect(files.read('/cut')).rejects.toMatchObject({ name: 'UnavailableError', code: 'unreachable' })
  })
})

describe('list', () => {
  it('answers with the entries of a directory', async () => {
    await files.write('/app/main.py', 'print(1)', { mode: 0o755 })
    await files.write('/app/deep/er.txt', '')
    expect(await files.list('/app')).toEqual([
      { name: 'main.py', type: 'file', size: 8, mode: '755', modifiedAt: new Date('2026-01-02T03:04:05Z') },
    ])
  })
})
