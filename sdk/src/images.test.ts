import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { WireImage } from '../test/wire-images.ts'
import { WireServer } from '../test/wire-server.ts'
import { type ImageProgress, NotFoundError, Portico } from './index.ts'

let wire: WireServer
let portico: Portico

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

function bodyOf(route: string): unknown {
  return JSON.parse(wire.requests.findLast(({ method, path }) => route === `${method} ${path}`)?.body.toString() ?? '')
}

/** Images stand still after their first progress, until the answered one is told otherwise. */
function held(): Promise<WireImage> {
  return new Promise((resolve) => {
    wire.images.script = (image) => {
      image.progress('pull', { done_bytes: 1, total_bytes: 2 })
      resolve(image)
    }
  })
}

describe('images', () => {
  it('called, tells the names that can be booted, also of a platform that tells no more', async () => {
    expect(await portico.images()).toEqual(['node', 'python'])
    wire.intercept('GET /v1/images', (_seen, response) => response.end('{"images":["x"]}'))
    expect(await portico.images()).toEqual(['x'])
  })

  it('lists the own ones, newest first, and finds them by id and name', async () => {
    const pulled = await portico.images.pull('alpine:3.20')
    const built = await portico.images.build({ name: 'web', tag: '2', from: 'python' })
    expect(await portico.images.list()).toEqual([built, pulled])
    expect(pulled).toMatchObject({ kind: 'pull', status: 'ready', image: 'alpine:3.20', sizeBytes: 5_000_000 })
    expect(built).toMatchObject({ kind: 'build', image: 'web:2', from: 'python', createdAt: expect.any(Date) })
    expect(await portico.images.get('web:2')).toEqual(built)
    expect(await portico.images.get(pulled.id)).toEqual(pulled)
    for (const none of ['web', 'web:3', '', '..', 'a/b']) expect(await portico.images.get(none)).toBeNull()
  })

  it('deletes one, and says when it was gone already', async () => {
    await portico.images.build({ name: 'web' })
    await portico.images.delete('web')
    await expect(portico.images.delete('web')).rejects.toBeInstanceOf(NotFoundError)
    await expect(portico.images.delete('..')).rejects.toMatchObject({ code: 'invalid_request' })
    expect(wire.images.own.size).toBe(0)
  })
})

describe('a pull', () => {
  it('tells its progress and resolves when the image is ready', async () => {
    const told: ImageProgress[] = []
    const image = await portico.images.pull('alpine:3.20', { name: 'base:1', onProgress: (one) => told.push(one) })
    expect(told.map(({ phase }) => phase)).toEqual(['resolve', 'pull', 'unpack', 'erofs'])
    expect(told[1]).toMatchObject({ doneBytes: 3_145_728, totalBytes: 3_145_728 })
    expect(image).toMatchObject({ name: 'base', tag: '1', image: 'base:1', status: 'ready' })
    expect(bodyOf('POST /v1/images')).toEqual({ reference: 'alpine:3.20', name: 'base', tag: '1' })
  })

  it('rejects with why it failed, in the class of its code, and leaves the record', async () => {
    const failed = portico.images.pull('no-such:1')
    await expect(failed).rejects.toMatchObject({ name: 'NotFoundError', code: 'image_missing', status: 404 })
    expect(wire.count('DELETE /v1/images/*')).toBe(0)
    expect(await portico.images.list()).toMatchObject([{ status: 'failed', code: 'image_missing' }])
  })

  it('goes on where it stood when the connection breaks, and tells nothing twice', async () => {
    wire.images.script = (image) => {
      for (const phase of ['resolve', 'pull', 'unpack']) image.progress(phase)
    }
    const told: string[] = []
    wire.intercept('GET /v1/images/*', async (seen, response) => {
      const [image] = wire.images.own.values()
      const events = image?.events.slice(0, 2) ?? []
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const text = events.map((event, at) => `id: ${at + 1}\ndata: ${JSON.stringify(event)}\n\n`).join('')
      response.write(text, () => response.destroy())
      await seen.abandoned
      image?.ready()
    })
    const image = await portico.images.pull('alpine:3.20', { onProgress: ({ phase }) => told.push(phase) })
    expect(told).toEqual(['resolve', 'pull', 'unpack'])
    expect(image.status).toBe('ready')
    expect(wire.requests.findLast(({ path }) => path.endsWith('/events'))?.headers['last-event-id']).toBe('2')
  })

  it('tells nothing twice where everything is told again from the first', async () => {
    wire.images.script = (image) => image.progress('resolve')
    const all = (over: boolean) => {
      const [image] = wire.images.own.values()
      if (over) image?.ready()
      return (image?.events ?? []).map((event, at) => `id: ${at + 1}\ndata: ${JSON.stringify(event)}\n\n`).join('')
    }
    wire.intercept('GET /v1/images/*', (_seen, response) => response.end(all(false)))
    wire.intercept('GET /v1/images/*', (_seen, response) => response.end(`${all(true)}: and more\n\n`))
    const told: string[] = []
    await portico.images.pull('alpine:3.20', { onProgress: ({ phase }) => told.push(phase) })
    expect(told).toEqual(['resolve'])
  })

  it('is deleted in the background when its signal aborts, and close() waits for that', async () => {
    const under = held()
    const controller = new AbortController()
    const pulling = portico.images.pull('big:1', { signal: controller.signal })
    await under
    controller.abort(new Error('enough'))
    await expect(pulling).rejects.toThrow('enough')
    await portico.close()
    expect(wire.images.own.size).toBe(0)
  })

  it('is deleted when the client is closed, or a listener throws', async () => {
    const onProgress = () => {
      throw new Error('cannot draw')
    }
    await expect(portico.images.pull('big:1', { onProgress })).rejects.toThrow('cannot draw')
    const under = held()
    const pulling = expect(portico.images.pull('big:2')).rejects.toMatchObject({ code: 'cancelled' })
    await under
    await portico.close()
    await pulling
    expect(wire.images.own.size).toBe(0)
  })

  it('stays under a key of the caller’s own', async () => {
    const under = held()
    const controller = new AbortController()
    const pulling = portico.images.pull('big:1', { signal: controller.signal, idempotencyKey: 'k' })
    const image = await under
    controller.abort(new Error('enough'))
    await expect(pulling).rejects.toThrow('enough')
    image.ready()
    const again = await portico.images.pull('big:1', { idempotencyKey: 'k' })
    expect(again.id).toBe(image.record.id)
  })
})

describe('a build', () => {
  it('sends what it is made of and tells what its steps print', async () => {
    const output: string[] = []
    const phases: (string | number)[] = []
    await portico.images.build({
      name: 'web:1.0',
      from: 'node',
      steps: ['echo a', { run: 'echo b', env: { A: '1' }, workdir: '/app', user: 'me', timeoutSec: 9 }],
      env: { B: '2' },
      files: [
        { path: '/app/run.sh', content: 'grüß', mode: 0o755 },
        { path: '/b', content: new Uint8Array([255]) },
      ],
      vcpus: 2,
      memMiB: 512,
      diskMiB: 1024,
      start: 'server',
      readyPort: 8000,
      onProgress: ({ phase, step }) => phases.push(step ?? phase),
      onOutput: ({ text }) => output.push(text),
    })
    expect(bodyOf('POST /v1/images')).toEqual({
      name: 'web',
      tag: '1.0',
      from: 'node',
      steps: ['echo a', { run: 'echo b', env: { A: '1' }, workdir: '/app', user: 'me', timeout: 9 }],
      env: { B: '2' },
      files: [
        { path: '/app/run.sh', content: Buffer.from('grüß').toString('base64'), mode: '755' },
        { path: '/b', content: '/w==' },
      ],
      vcpus: 2,
      mem_mib: 512,
      disk_mib: 1024,
      start: 'server',
      ready_port: 8000,
    })
    expect(phases).toEqual(['create', 1, 2, 'snapshot'])
    expect(output).toEqual(['echo a\n', 'echo b\n'])
  })

  it('rejects with the step that failed', async () => {
    const built = portico.images.build({ name: 'web', steps: ['true', 'false'] })
    await expect(built).rejects.toMatchObject({ name: 'ImageError', code: 'build_failed' })
    await expect(built).rejects.toThrow('step 2 ended with 1')
  })
})

describe('events', () => {
  it('are told from the first, by name too, and end with how it ended', async () => {
    await portico.images.build({ name: 'web', steps: ['echo a'] })
    const types: string[] = []
    for await (const event of portico.images.events('web')) types.push(event.type)
    expect(types).toEqual(['progress', 'progress', 'output', 'progress', 'ready'])
    await expect(portico.images.pull('no-such:1')).rejects.toThrow()
    const [failed] = await portico.images.list()
    for await (const event of portico.images.events(failed?.id ?? '')) expect(event).toMatchObject({ type: 'failed' })
  })

  it('of none are an error', async () => {
    const reading = portico.images.events('nobody')[Symbol.asyncIterator]().next()
    await expect(reading).rejects.toMatchObject({ code: 'image_not_found' })
  })
})
