import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sendJson, WireServer } from '../test/wire-server.ts'
import { Portico, type SandboxFiles } from './index.ts'

let wire: WireServer
let portico: Portico
let files: SandboxFiles

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  files = (await portico.create({ image: 'python' })).files
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

const asked = () => wire.requests.at(-1)
const body = () => JSON.parse(asked()?.body.toString() ?? '')
const modifiedAt = new Date('2026-01-02T03:04:05Z')

describe('looking', () => {
  it('tells what is below a directory, and whether there is more', async () => {
    await files.write('/app/main.py', 'print(1)', { mode: 0o755 })
    await files.write('/app/deep/er.txt', '')
    await files.write('/app/very/deep/est.txt', '')
    const entries = [
      { name: 'main.py', type: 'file', size: 8, mode: '755', modifiedAt },
      { name: 'deep/er.txt', type: 'file', size: 0, mode: '644', modifiedAt },
    ]
    expect(await files.tree('/app', { depth: 2 })).toEqual({ entries, truncated: true })
    expect(await files.list('/app', { depth: 2, limit: 1 })).toEqual(entries.slice(0, 1))
    expect((await files.tree('/app', { depth: 3 })).truncated).toBe(false)
  })

  it('tells modes as three digits where no fourth is set, and names that are not UTF-8 as bytes', async () => {
    const common = { is_dir: false, size: 1, type: 'file', modified_at: '2026-01-02T03:04:05Z' }
    wire.intercept('GET /v1/runs/*/files/list', (_seen, response) =>
      sendJson(response, 200, {
        path: '/app',
        entries: [
          { ...common, name: 'a\ufffd', name_base64: 'Yf8=', mode: '0755' },
          { ...common, name: 'b', mode: '4755' },
        ],
        truncated: false,
      }),
    )
    const [first, second] = await files.list('/app', { depth: 1 })
    expect(first).toMatchObject({ mode: '755', nameBytes: new Uint8Array([0x61, 0xff]) })
    expect(second).toMatchObject({ name: 'b', mode: '4755' })
    expect(second).not.toHaveProperty('nameBytes')
  })

  it('looks at one file', async () => {
    await files.write('/app/a', 'four', { mode: 0o600, owner: 'nobody' })
    expect(await files.stat('/app/a')).toEqual({
      name: 'a',
      path: '/app/a',
      type: 'file',
      size: 4,
      allocated: 4096,
      mode: '600',
      owner: 'nobody',
      group: 'root',
      uid: 0,
      gid: 0,
      modifiedAt,
      symlinkTarget: undefined,
    })
    await expect(files.stat('/nowhere')).rejects.toMatchObject({ name: 'NotFoundError', code: 'file_not_found' })
    expect([await files.exists('/app/a'), await files.exists('/nowhere')]).toEqual([true, false])
  })

  it('finds lines', async () => {
    await files.write('/app/a.py', 'one\ntwo three\n')
    await files.write('/app/b.py', 'a t.*e\n')
    expect(await files.search('/app', 't.*e')).toEqual({
      matches: [
        { path: '/app/a.py', line: 2, column: 1, text: 'two three' },
        { path: '/app/b.py', line: 1, column: 3, text: 'a t.*e' },
      ],
      truncated: false,
      filesSearched: 2,
    })
    const plain = await files.search('/app', 't.*e', { literal: true, ignoreCase: true, glob: '*.py', maxResults: 5 })
    expect(plain.matches).toHaveLength(1)
    expect(body()).toEqual({
      path: '/app',
      pattern: 't.*e',
      literal: true,
      ignore_case: true,
      glob: '*.py',
      max_results: 5,
    })
  })
})

describe('changing', () => {
  it('makes, moves, copies and removes', async () => {
    await files.mkdir('/app/new', { parents: true, mode: 0o70 })
    expect(body()).toEqual({ path: '/app/new', parents: true, mode: '070' })
    await expect(files.mkdir('/app/new')).rejects.toMatchObject({ name: 'ConflictError', code: 'conflict' })
    await files.write('/app/new/a', 'a')
    await files.copy('/app/new/a', '/app/new/b')
    await files.move('/app/new/a', '/app/c', { overwrite: false })
    expect(body()).toEqual({ source: '/app/new/a', destination: '/app/c', overwrite: false })
    expect(await files.exists('/app/new/a')).toBe(false)
    expect(await files.readText('/app/new/b')).toBe('a')
    await expect(files.move('/app/c', '/app/new/b', { overwrite: false })).rejects.toMatchObject({ code: 'conflict' })
    await expect(files.remove('/app/new')).rejects.toMatchObject({ code: 'conflict' })
    await files.remove('/app/new', { recursive: true })
    expect(await files.exists('/app/new/b')).toBe(false)
    await expect(files.remove('/app/new')).rejects.toMatchObject({ code: 'file_not_found' })
  })

  it('sets modes and owners', async () => {
    await files.write('/a', '')
    await files.chmod('/a', 0o755)
    await files.chown('/a', { owner: '1000', group: 'users', recursive: true })
    expect(body()).toEqual({ path: '/a', owner: '1000', group: 'users', recursive: true })
    expect(await files.stat('/a')).toMatchObject({ mode: '755', owner: '1000' })
  })

  it('is not repeated when the answer is lost', async () => {
    await files.write('/a', '')
    wire.intercept('POST /v1/runs/*/files/move', (_seen, response) => response.destroy())
    await expect(files.move('/a', '/b')).rejects.toMatchObject({ name: 'UnavailableError' })
    expect(wire.count('POST /v1/runs/*/files/move')).toBe(1)
  })
})

describe('a path that is not UTF-8', () => {
  const path = new Uint8Array([0x2f, 0x61, 0xff])

  it('goes as base64 wherever a path goes', async () => {
    await files.write(path, 'odd')
    expect(asked()?.query.get('path_base64')).toBe('L2H/')
    expect(asked()?.query.has('path')).toBe(false)
    expect(await files.readText(path)).toBe('odd')
    await files.move(path, '/even')
    expect(body()).toEqual({ source_base64: 'L2H/', destination: '/even' })
    await files.copy('/even', path)
    await files.chmod(path, 0o600)
    expect(body()).toEqual({ path_base64: 'L2H/', mode: '600' })
    await files.remove(path)
    expect(await files.exists(path)).toBe(false)
  })

  it('is told with U+FFFD in an error', async () => {
    wire.fail('GET /v1/runs/*', 'internal')
    await expect(files.stat(path)).rejects.toMatchObject({ code: 'internal' })
    wire.intercept('GET /v1/runs/*', (_seen, response) => response.writeHead(200).end('nonsense'))
    await expect(files.stat(path)).rejects.toThrow('cannot look at /a\ufffd: ')
  })
})

describe('an archive', () => {
  it('is laid into a directory from bytes or a stream, and comes as a stream', async () => {
    const tar = new Uint8Array(1024).fill(7)
    expect(await files.unpack('/app', tar)).toEqual({ entries: 1, bytes: 1024 })
    expect(asked()).toMatchObject({ method: 'PUT', path: expect.stringMatching(/\/files\/archive$/) })
    expect(await files.unpack('/app', new Blob([tar, tar]).stream())).toEqual({ entries: 1, bytes: 2048 })
    let size = 0
    for await (const chunk of await files.archive('/app')) size += chunk.length
    expect(size).toBe(2048)
  })

  it('of a source that breaks off throws why', async () => {
    const source = new ReadableStream<Uint8Array>({
      pull: () => {
        throw new RangeError('the disk is scratched')
      },
    })
    await expect(files.unpack('/app', source)).rejects.toThrow(new RangeError('the disk is scratched'))
  })
})
