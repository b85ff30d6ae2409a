/** `sandbox::fs::…` through a worker's socket: shapes of the results, and an S-code for each way to fail. */

import { uuidOf } from '@portico/shared/ids'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { adminKey, answer } from './client.ts'
import { FileGuest } from './file-guest.ts'
import { GuestScene, notedCalls } from './guest-scene.ts'
import { ChannelEnd, type ChannelRef, IiiWorker } from './iii-worker.ts'

const scene = new GuestScene()
const mtime = 1_767_323_045
let guest: FileGuest
let worker: IiiWorker
let sandbox_id: string

beforeEach(async () => {
  guest = new FileGuest()
  await scene.start(guest.serve)
  worker = await IiiWorker.connect(scene.key)
  sandbox_id = uuidOf(scene.id as never)
})
afterEach(() => worker.leave())

const call = <Result = unknown>(name: string, payload: object) =>
  worker.trigger<Result>(`sandbox::fs::${name}`, { sandbox_id, ...payload })
const fault = (name: string, payload: object) => worker.fault(`sandbox::fs::${name}`, { sandbox_id, ...payload })

describe('looking', () => {
  test('lists a directory with links told as such', async () => {
    guest.put('/tmp/a.txt', 'abc')
    guest.folder('/tmp/sub')
    guest.put('/tmp/sub/deep', '')
    guest.link('/tmp/to', '/tmp/a.txt')
    expect(await call('ls', { path: '/tmp' })).toEqual({
      entries: [
        { name: 'a.txt', is_dir: false, size: 3, mode: '0644', mtime, is_symlink: false },
        { name: 'sub', is_dir: true, size: 0, mode: '0755', mtime, is_symlink: false },
        { name: 'to', is_dir: false, size: 0, mode: '0777', mtime, is_symlink: true },
      ],
    })
  })

  test('tells one path', async () => {
    expect(await call('stat', { path: '/tmp' })).toEqual({
      name: 'tmp',
      is_dir: true,
      size: 0,
      mode: '1777',
      mtime,
      is_symlink: false,
    })
  })

  test('says what is wrong with a path', async () => {
    guest.put('/tmp/file', '')
    for (const [name, path, code, type] of [
      ['ls', '/nowhere', 'S211', 'filesystem'],
      ['ls', '/tmp/file', 'S212', 'filesystem'],
      ['ls', 'relative', 'S210', 'validation'],
      ['ls', `/${'x'.repeat(5000)}`, 'S210', 'validation'],
      ['stat', '/nowhere', 'S211', 'filesystem'],
      ['read', '/nowhere', 'S211', 'filesystem'],
      ['read', '/tmp', 'S212', 'filesystem'],
    ] as const) {
      expect(await fault(name, { path }), `${name} ${path}`).toMatchObject({ code, type, retryable: false })
    }
  })

  test('says what the sandbox refuses', async () => {
    for (const [refusal, code] of [
      ['permission_denied', 'S215'],
      ['no_space', 'S216'],
      ['guest_error', 'S216'],
      ['invalid_path', 'S210'],
    ] as const) {
      guest.refusals.set('GET /files/stat', refusal)
      expect(await fault('stat', { path: '/tmp' })).toMatchObject({ code })
    }
  })
})

describe('which sandbox', () => {
  test('is S001 for what is no UUID and S002 for one that is not the caller’s', async () => {
    const payload = { sandbox_id: 'nonsense', path: '/' }
    expect(await worker.fault('sandbox::fs::ls', payload)).toMatchObject({ code: 'S001' })
    const unknown = { sandbox_id: crypto.randomUUID(), path: '/' }
    expect(await worker.fault('sandbox::fs::ls', unknown)).toMatchObject({ code: 'S002' })
  })

  test('is a serialization error where it is left out', async () => {
    const { error } = await worker.invoke('sandbox::fs::ls', { path: '/' })
    expect(error).toEqual({ code: 'invocation_failed', message: 'serialization error: missing field `sandbox_id`' })
  })
})

describe('mkdir', () => {
  test('makes a directory, and with parents those above it', async () => {
    expect(await call('mkdir', { path: '/tmp/a' })).toEqual({ created: true })
    expect(guest.entries.get('/tmp/a')?.mode).toBe('0755')
    expect(await call('mkdir', { path: '/x/y', parents: true, mode: '0700' })).toEqual({ created: true })
    expect(guest.entries.get('/x/y')?.mode).toBe('0700')
    expect(await call('mkdir', { path: '/x/y', parents: true })).toEqual({ created: false })
  })

  test('says what would help', async () => {
    expect(await fault('mkdir', { path: '/x/y' })).toMatchObject({ code: 'S211', fix: { parents: true } })
    expect(await fault('mkdir', { path: '/tmp' })).toMatchObject({ code: 'S213', fix: null })
    expect(await fault('mkdir', { path: '/tmp/b', mode: 'rwx' })).toMatchObject({ code: 'S210' })
  })
})

describe('rm', () => {
  test('removes, a full directory only if told', async () => {
    guest.folder('/tmp/full')
    guest.put('/tmp/full/file', '')
    expect(await fault('rm', { path: '/tmp/full' })).toMatchObject({ code: 'S214' })
    expect(await call('rm', { path: '/tmp/full', recursive: true })).toEqual({ removed: true })
    expect(guest.entries.has('/tmp/full/file')).toBe(false)
    expect(await fault('rm', { path: '/tmp/full' })).toMatchObject({ code: 'S211' })
  })
})

describe('chmod', () => {
  test('changes mode and owner, and counts', async () => {
    guest.put('/tmp/file', '')
    expect(await call('chmod', { path: '/tmp/file', mode: '0600', uid: 7, gid: 8 })).toEqual({ updated: 1 })
    expect(guest.entries.get('/tmp/file')).toMatchObject({ mode: '0600', uid: 7, gid: 8 })
    guest.link('/tmp/to', '/tmp/file')
    expect(await call('chmod', { path: '/tmp', mode: '755', recursive: true })).toEqual({ updated: 2 })
    expect(await fault('chmod', { path: '/nowhere', mode: '755' })).toMatchObject({ code: 'S211' })
  })
})

describe('mv', () => {
  test('moves, over something only if told, and makes no directories', async () => {
    guest.put('/tmp/a', 'a')
    guest.put('/tmp/b', 'b')
    expect(await fault('mv', { src: '/tmp/a', dst: '/tmp/b' })).toMatchObject({ code: 'S213' })
    expect(await call('mv', { src: '/tmp/a', dst: '/tmp/b', overwrite: true })).toEqual({ moved: true })
    expect(guest.text('/tmp/b')).toBe('a')
    expect(await fault('mv', { src: '/tmp/b', dst: '/no/b' })).toMatchObject({ code: 'S211' })
    expect(await fault('mv', { src: '/tmp/b', dst: '/tmp', overwrite: true })).toMatchObject({ code: 'S212' })
    expect(await fault('mv', { src: '/tmp/none', dst: '/tmp/c' })).toMatchObject({ code: 'S211' })
    expect(guest.text('/tmp/b')).toBe('a')
  })
})

describe('write and read', () => {
  test('take and tell text, and note it in the audit log', async () => {
    expect(await call('write', { path: '/tmp/t', content: 'grüße\n', mode: '0600' })).toEqual({
      bytes_written: 8,
      path: '/tmp/t',
    })
    expect(guest.entries.get('/tmp/t')?.mode).toBe('0600')
    const told = await call<{ content: ChannelRef }>('read', { path: '/tmp/t' })
    expect(told).toEqual({
      content: { channel_id: expect.any(String), access_key: expect.any(String), direction: 'read' },
      body: 'grüße\n',
      size: 8,
      mode: '0600',
      mtime,
    })
    const end = await ChannelEnd.join(told.content)
    expect(new TextDecoder().decode(await end.all())).toBe('grüße\n')
    expect(end.closed?.code).toBe(1000)
    expect(await notedCalls(scene, 2)).toEqual([
      { event: 'file.uploaded', data: { path: '/tmp/t', bytes: 8 } },
      { event: 'file.downloaded', data: { path: '/tmp/t' } },
    ])
  })

  test('take bytes in base64, and tell what is no text through the channel alone', async () => {
    expect(await call('write', { path: '/tmp/b', content_b64: 'AP8B' })).toMatchObject({ bytes_written: 3 })
    const told = await call<{ content: ChannelRef; body?: string }>('read', { path: '/tmp/b' })
    expect(told.body).toBeUndefined()
    expect([...(await (await ChannelEnd.join(told.content)).all())]).toEqual([0, 255, 1])
  })

  test('follow links, and write an empty file', async () => {
    expect(await call('write', { path: '/tmp/empty', content: '' })).toMatchObject({ bytes_written: 0 })
    guest.put('/tmp/real', 'real')
    guest.link('/tmp/one', 'two')
    guest.link('/tmp/two', '/tmp/real')
    expect(await call('read', { path: '/tmp/one' })).toMatchObject({ body: 'real', size: 4, mode: '0644' })
    guest.link('/tmp/round', 'round')
    expect(await fault('read', { path: '/tmp/round' })).toMatchObject({ code: 'S210' })
  })

  test('refuse what cannot be written', async () => {
    guest.put('/tmp/file', '')
    const channel = { channel_id: 'c', access_key: 'k' }
    for (const [payload, code, fix] of [
      [{ path: '/no/where', content: 'x' }, 'S211', { parents: true }],
      [{ path: '/tmp/file/x', content: 'x' }, 'S212', null],
      [{ path: '/tmp', content: 'x' }, 'S212', null],
      [{ path: 'x', content: 'x' }, 'S210', null],
      [{ path: '/tmp/x' }, 'S210', null],
      [{ path: '/tmp/x', content: 'x', content_b64: 'eA==' }, 'S210', null],
      [{ path: '/tmp/x', content_b64: 'e' }, 'S210', null],
      [{ path: '/tmp/x', content: 'x', mode: '9' }, 'S210', null],
      [{ path: '/tmp/x', content: { ...channel, direction: 'write' } }, 'S210', null],
      [{ path: '/tmp/x', content: { ...channel, direction: 'read' } }, 'S210', null],
    ] as const) {
      expect(await fault('write', payload), JSON.stringify(payload)).toMatchObject({ code, fix })
    }
    expect(guest.entries.has('/tmp/x')).toBe(false)
  })

  test('make directories above if told', async () => {
    expect(await call('write', { path: '/no/where', content: 'x', parents: true })).toMatchObject({ bytes_written: 1 })
  })
})

describe('grep', () => {
  beforeEach(() => {
    guest.put('/tmp/a.ts', 'one\ntwo one\n')
    guest.put('/tmp/b.js', 'one\n')
    guest.folder('/tmp/sub')
    guest.put('/tmp/sub/c.ts', 'a one\n')
  })
  const found = async (payload: object) => {
    const { matches, truncated } = await call<{
      matches: { path: string; line: number; content: string }[]
      truncated: boolean
    }>('grep', { path: '/tmp', pattern: 'one', ...payload })
    return { lines: matches.map(({ path, line, content }) => `${path}:${line}:${content}`), truncated }
  }

  test('tells lines', async () => {
    expect(await found({})).toEqual({
      lines: ['/tmp/a.ts:1:one', '/tmp/a.ts:2:two one', '/tmp/b.js:1:one', '/tmp/sub/c.ts:1:a one'],
      truncated: false,
    })
    expect((await found({ path: '/tmp/b.js' })).lines).toEqual(['/tmp/b.js:1:one'])
  })

  test('looks where the globs say', async () => {
    for (const [payload, paths] of [
      [{ include_glob: ['*.ts'] }, ['a.ts', 'a.ts', 'sub/c.ts']],
      [{ include_glob: ['*.ts'], recursive: false }, ['a.ts', 'a.ts']],
      [{ include_glob: ['sub/**', '*.js'] }, ['b.js', 'sub/c.ts']],
      [{ exclude_glob: ['sub', 'b.[jx]s'] }, ['a.ts', 'a.ts']],
      [{ include_glob: ['/*.ts'] }, ['a.ts', 'a.ts']],
    ] as const) {
      const { lines } = await found(payload)
      const expected = paths.map((path) => `/tmp/${path}`)
      expect(
        lines.map((line) => line.split(':')[0]),
        JSON.stringify(payload),
      ).toEqual(expected)
    }
  })

  test('stops at its limits', async () => {
    expect(await found({ max_matches: 1, max_line_bytes: 2 })).toEqual({ lines: ['/tmp/a.ts:1:on'], truncated: true })
  })

  test('is S217 for a bad pattern and S211 for a bad path', async () => {
    expect(await fault('grep', { path: '/tmp', pattern: '(' })).toMatchObject({ code: 'S217' })
    expect(await fault('grep', { path: '/nowhere', pattern: 'x' })).toMatchObject({ code: 'S211' })
  })
})

describe('sed', () => {
  test('replaces in files, keeps their mode and tells of each', async () => {
    guest.put('/tmp/a', 'x=1\nx=2\n', '0755')
    guest.put('/tmp/binary', new Uint8Array([0, 120]))
    const files = ['/tmp/a', '/tmp/none', '/tmp/binary', '/tmp']
    const payload = { files, pattern: '^(?P<k>\\w)=(\\d)$', replacement: ['$2 is $', '{k}$$'].join('') }
    expect(await call('sed', payload)).toEqual({
      results: [
        { path: '/tmp/a', replacements: 2, success: true },
        { path: '/tmp/none', replacements: 0, success: false, error: expect.stringMatching(/^S211: /) },
        { path: '/tmp/binary', replacements: 0, success: false, error: 'not a UTF-8 text file' },
        { path: '/tmp', replacements: 0, success: false, error: expect.stringMatching(/^S212: /) },
      ],
      total_replacements: 2,
    })
    expect(guest.text('/tmp/a')).toBe('1 is x$\n2 is x$\n')
    expect(guest.entries.get('/tmp/a')?.mode).toBe('0755')
  })

  test('replaces below a path where something matches, and leaves the rest alone', async () => {
    guest.folder('/tmp/sub')
    guest.put('/tmp/sub/a.py', 'foo(foo)')
    guest.put('/tmp/sub/b.py', 'bar')
    guest.put('/tmp/sub/c.txt', 'foo')
    const payload = { path: '/tmp', include_glob: ['*.py'], pattern: 'foo', replacement: '$1', regex: false }
    expect(await call('sed', { ...payload, first_only: true })).toEqual({
      results: [{ path: '/tmp/sub/a.py', replacements: 1, success: true }],
      total_replacements: 1,
    })
    expect(guest.text('/tmp/sub/a.py')).toBe('$1(foo)')
    expect(guest.text('/tmp/sub/c.txt')).toBe('foo')
  })

  test('refuses what it cannot do', async () => {
    for (const [payload, code] of [
      [{ files: ['/tmp/a'], path: '/tmp', pattern: 'x' }, 'S210'],
      [{ pattern: 'x' }, 'S210'],
      [{ files: ['a'], pattern: 'x' }, 'S210'],
      [{ files: ['/tmp/a'], pattern: '' }, 'S210'],
      [{ files: ['/tmp/a'], pattern: '(' }, 'S217'],
      [{ files: ['/tmp/a'], pattern: '(?=x)' }, 'S217'],
    ] as const) {
      expect(await fault('sed', { replacement: '', ...payload }), JSON.stringify(payload)).toMatchObject({ code })
    }
  })

  test('a pattern that would take for ever takes no time', async () => {
    guest.put('/tmp/a', `${'a'.repeat(50_000)}!`)
    const payload = { files: ['/tmp/a'], pattern: '(a+)+$', replacement: '' }
    expect(await call('sed', payload)).toMatchObject({ total_replacements: 0 })
  })
})

test('a key that may only read is refused what changes files', async () => {
  const keys = `/admin/accounts/${scene.account}/keys`
  const json = { region: 'local', scope: 'read-only' }
  const { key } = await answer<{ key: string }>(keys, { key: adminKey, json })
  const reader = await IiiWorker.connect(key)
  expect(await reader.trigger('sandbox::fs::ls', { sandbox_id, path: '/tmp' })).toEqual({ entries: [] })
  const refused = await reader.invoke('sandbox::fs::rm', { sandbox_id, path: '/tmp' })
  expect(refused.error?.code).toBe('FORBIDDEN')
  reader.leave()
})
