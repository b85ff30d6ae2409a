/** The inside of a sandbox over HTTP with a key: files, services, checkpoints and the store of one machine. The long forms are `npm run inside`. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { InsideClient, Watching } from '../kit/inside-client.ts'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'

/** Tells each that connects who it is and where; less than a server of Python's own takes to start. */
const program = [
  'import os, socket, sys',
  'server = socket.create_server(("127.0.0.1", int(sys.argv[1])))',
  'while True:',
  '  peer, _ = server.accept()',
  '  peer.send((os.environ.get("WHO", "nobody") + " in " + os.getcwd()).encode())',
  '  peer.close()',
].join('\n')

describe('inside a sandbox', () => {
  let platform: TestPlatform
  let client: InsideClient

  beforeAll(async () => {
    platform = await testPlatform()
    const sandbox = await platform.portico.create({ image: 'python', timeoutSec: 0 })
    client = new InsideClient(platform.platform, sandbox.id)
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
  })

  it("a command finds its caller's trace in its environment", async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const exec = async (command: object) => {
      const headers = { 'content-type': 'application/json', traceparent }
      const asked = { method: 'POST', headers, body: JSON.stringify(command) }
      return (await (await platform.call(`/v1/runs/${client.id}/exec`, asked)).json()) as { stdout: string }
    }
    expect((await exec({ command: 'printenv TRACEPARENT' })).stdout).toBe(`${traceparent}\n`)
    expect((await exec({ command: 'printenv TRACEPARENT', env: { TRACEPARENT: 'own' } })).stdout).toBe('own\n')
  })

  it('files of any name are written, told and read back', async () => {
    const odd = '/root/names/a b\n"ü" $HOME'
    const bytes = Buffer.concat([Buffer.from('/root/names/'), Buffer.from([0x66, 0xff, 0xfe])])
    await client.files.write(odd, 'odd', '&mode=640&owner=nobody&group=nogroup')
    await client.files.write(bytes, 'not UTF-8')
    await client.shell('ln -s nowhere /root/names/link; mkfifo /root/names/pipe; truncate -s 1M /root/names/sparse')
    const { entries, truncated } = await client.files.list('/root/names')
    expect(truncated).toBe(false)
    expect(
      entries.map(({ name, name_base64, type, size, mode }) => [
        name,
        name_base64,
        type,
        type === 'file' ? size : 0,
        mode,
      ]),
    ).toEqual([
      ['a b\n"ü" $HOME', undefined, 'file', 3, '0640'],
      ['f\ufffd\ufffd', Buffer.from([0x66, 0xff, 0xfe]).toString('base64'), 'file', 9, expect.any(String)],
      ['link', undefined, 'symlink', 0, expect.any(String)],
      ['pipe', undefined, 'other', 0, expect.any(String)],
      ['sparse', undefined, 'file', 1_048_576, expect.any(String)],
    ])
    expect(await client.files.read(odd)).toBe('odd')
    expect(await client.files.read(bytes)).toBe('not UTF-8')
    expect(await client.files.stat(odd)).toMatchObject({
      owner: 'nobody',
      group: 'nogroup',
      permissions: '640',
      size: 3,
    })
    expect(await client.files.stat('/root/names/link')).toMatchObject({ type: 'symlink', symlink_target: 'nowhere' })
    expect((await client.files.stat('/root/names/sparse')).allocated).toBe(0)
    expect(await client.files.exists('/root/names/link')).toBe(true)
    expect(await client.files.exists('/root/none/at/all')).toBe(false)
  })

  it('files are moved, copied, searched and removed, and what cannot be says why', async () => {
    await client.files.post('mkdir', { path: '/root/tree/deep', parents: true, mode: '750' })
    await client.files.write('/root/tree/deep/one.py', 'first\nneedle = 1\n')
    await client.files.write('/root/tree/two.txt', 'a needle\n')
    await client.files.post('copy', { source: '/root/tree', destination: '/root/twin', recursive: true })
    await client.files.post('move', { source: '/root/twin/two.txt', destination: '/root/moved/two.txt' })
    await client.files.post('chmod', { path: '/root/twin', mode: '700' })
    const { matches } = await client.files.post<{ matches: object[] }>('search', {
      path: '/root/tree',
      pattern: 'need.e',
      glob: '*.py',
    })
    expect(matches).toEqual([{ path: '/root/tree/deep/one.py', line: 2, column: 1, text: 'needle = 1' }])
    expect(
      await client.shell('stat -c "%a %n" /root/tree/deep /root/twin/deep /root/twin; ls /root/twin /root/moved'),
    ).toBe('750 /root/tree/deep\n750 /root/twin/deep\n700 /root/twin\n/root/moved:\ntwo.txt\n\n/root/twin:\ndeep\n')
    await expect(client.files.remove('/root/tree')).rejects.toMatchObject({ status: 409, code: 'conflict' })
    await expect(client.files.stat('/root/none')).rejects.toMatchObject({ status: 404, code: 'file_not_found' })
    await expect(client.files.list('/root/tree/two.txt')).rejects.toMatchObject({ code: 'not_directory' })
    await expect(client.files.post('mkdir', { path: '/root/tree' })).rejects.toMatchObject({ code: 'conflict' })
    await client.files.remove('/root/tree', '&recursive=true')
    expect(await client.files.exists('/root/tree')).toBe(false)
  })

  it('a disk that is full is told as such', async () => {
    await client.shell('mkdir -p /root/small && mount -t tmpfs -o size=1m tmpfs /root/small')
    await expect(client.files.write('/root/small/large', Buffer.alloc(2_000_000))).rejects.toMatchObject({
      code: 'no_space',
    })
    await client.shell('umount /root/small')
  })

  it('a watch tells what happens, also in directories that are made meanwhile', async () => {
    await client.shell('mkdir -p /root/watched/old')
    using watching = await Watching.open(client, '/root/watched', true)
    await client.shell(
      'cd /root/watched; mkdir -p new/deep; echo 1 >new/deep/file; mv new/deep/file old/file; chmod 600 old/file; rm -r new; echo 1 >last',
    )
    await watching.until((seen) => seen.some(({ path }) => path === '/root/watched/last'), 10_000)
    const told = watching.seen.map(({ type, path, to }) =>
      [type, path?.slice(14), to?.slice(14)].filter(Boolean).join(' '),
    )
    expect(told).toEqual(
      expect.arrayContaining([
        'create new',
        'create new/deep',
        'create new/deep/file',
        'attributes old/file',
        'delete new',
      ]),
    )
    expect(told.filter((line) => /^(move new\/deep\/file old\/file|create old\/file)$/.test(line))).toHaveLength(1)
    expect(told).not.toContain('overflow')
  })

  it('a directory leaves as an archive and comes back as one', async () => {
    await client.shell(
      'mkdir -p /root/packed/a; cd /root/packed; echo 1 >a/one; ln -s a/one link; chmod 751 a; printf x >"with space"',
    )
    const packed = await client.open('GET', '/files/archive?path=/root/packed')
    expect(packed.status).toBe(200)
    const tar = Buffer.from(await packed.arrayBuffer())
    const laid = await client.open('PUT', '/files/archive?path=/root/unpacked', { body: tar })
    expect(await laid.json()).toMatchObject({ ok: true, path: '/root/unpacked' })
    const tree = `find . -printf '%y %m %P %l\\n' | sort`
    expect(await client.shell(`cd /root/unpacked; ${tree}`)).toBe(await client.shell(`cd /root/packed; ${tree}`))
    expect(await client.shell('diff -r /root/packed /root/unpacked')).toBe('')
  })

  it('services start after those they need, and say how they ended', async () => {
    const server = (port: number) => ({ cmd: 'python3', args: ['-Sc', program, String(port)], health_port: port })
    await client.services.upsert('base', { ...server(8101), working_dir: '/root' })
    await client.services.upsert('top', { ...server(8102), needs: ['base'], env: { WHO: 'top' } })
    expect(await client.services.start('top')).toMatchObject({ status: 'running', pid: expect.any(Number) })
    const running = await client.services.list()
    expect(running.map(({ name, status }) => [name, status])).toEqual([
      ['base', 'running'],
      ['top', 'running'],
    ])
    const [base, top] = running.map(({ started_at }) => Date.parse(started_at ?? ''))
    expect(top).toBeGreaterThanOrEqual(base as number)
    expect(await client.shell('bash -c "cat </dev/tcp/127.0.0.1/8102"')).toBe('top in /')
    expect(await client.shell('bash -c "cat </dev/tcp/127.0.0.1/8101"')).toBe('nobody in /root')
    await expect(client.services.upsert('base', { ...server(8101), needs: ['top'] })).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringMatching(/base.*top|top.*base/),
    })
    await client.services.upsert('short', { cmd: 'sh', args: ['-c', 'echo said; exit 4'], health_port: 8103 })
    await expect(client.services.start('short')).rejects.toMatchObject({ code: 'service_failed' })
    expect(await client.services.get('short')).toMatchObject({ status: 'failed', exit_code: 4, pid: null })
    await client.services.delete('short')
    await expect(client.services.get('short')).rejects.toMatchObject({ status: 404, code: 'service_not_found' })
  })

  it('a checkpoint brings back files and services, without the sandbox being another', async () => {
    await client.files.write('/root/note', 'of the moment')
    const created = await client.checkpoints.create('one', true)
    expect(created).toMatchObject({ ok: true, name: 'one', ready: true })
    expect(created.pause_ms).toBeLessThan(1000)
    await client.shell('echo changed >/root/note; rm -rf /root/packed; echo new >/root/later; sync')
    await client.services.upsert('later', { cmd: 'sleep', args: ['1000'] })
    await client.services.start('later')
    await client.services.stop('base')
    expect(await client.checkpoints.restore(created.checkpoint_id)).toMatchObject({
      started_services: expect.arrayContaining(['base', 'top']),
      stopped_services: ['later'],
      failed_services: [],
    })
    expect(await client.files.read('/root/note')).toBe('of the moment')
    expect(await client.shell('ls /root/packed/link; ls /root/later 2>/dev/null || echo none')).toBe(
      '/root/packed/link\nnone\n',
    )
    expect((await client.services.list()).map(({ name, status }) => [name, status])).toEqual([
      ['base', 'running'],
      ['top', 'running'],
    ])
    expect((await client.checkpoints.list()).map(({ id, ready }) => [id, ready])).toEqual([
      [created.checkpoint_id, true],
    ])
  })

  it('the store is there while the sandbox sleeps, and what it knows goes on when it wakes', async () => {
    await client.store.set('plan/1', { steps: ['a', 'b'], done: null })
    await client.ask('POST', '/hibernate')
    expect(await client.store.get('plan/1')).toEqual({
      key: 'plan/1',
      value: { steps: ['a', 'b'], done: null },
      expires_at: null,
    })
    expect(
      await client.store.batch([
        { op: 'set', key: 'plan/2', value: 2 },
        { op: 'delete', key: 'plan/1' },
      ]),
    ).toMatchObject({ applied: 2 })
    await expect(client.files.list('/root')).rejects.toMatchObject({ code: 'sandbox_hibernated' })
    expect(await client.checkpoints.list()).toHaveLength(1)
    await client.ask('POST', '/resume')
    expect(await client.store.list('prefix=plan/')).toEqual({ keys: ['plan/2'], truncated: false })
    expect((await client.services.list()).map(({ name, status }) => [name, status])).toEqual([
      ['base', 'running'],
      ['top', 'running'],
    ])
    const [checkpoint] = await client.checkpoints.list()
    await client.files.write('/root/note', 'after the sleep')
    await client.checkpoints.restore(checkpoint?.id ?? '')
    expect(await client.files.read('/root/note')).toBe('of the moment')
    await client.checkpoints.delete(checkpoint?.id ?? '')
    expect(await client.checkpoints.list()).toEqual([])
  })

  it('a fork has the store and the services of its parent, and both go on by themselves', async () => {
    const { children } = await ((await platform.portico.get(client.id))?.fork() ??
      Promise.reject(new Error('it is gone')))
    const child = new InsideClient(platform.platform, children[0]?.id ?? '')
    expect(await child.store.get('plan/2')).toMatchObject({ value: 2 })
    await child.store.set('plan/2', 'the child')
    expect(await client.store.get('plan/2')).toMatchObject({ value: 2 })
    await client.services.stop('top')
    expect((await child.services.get('top')).status).toBe('running')
    expect(await child.checkpoints.list()).toEqual([])
  })
})
