/** The Iris documents, each of their code blocks as printed with only the import changed; and a Connect client, unchanged, on the gateway. */

import { Code, ConnectError } from '@connectrpc/connect'
import type { Sandbox } from '@portico/sdk/iris'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectGateway } from './iris-service.ts'
import { IrisWorld } from './iris-world.ts'

let world: IrisWorld

beforeAll(async () => {
  world = await IrisWorld.open()
}, 1_800_000)

afterAll(async () => {
  await world?.close()
})

const refusal = (call: Promise<unknown>) => expect(call).rejects

describe('the API reference', () => {
  it('creates sandboxes, with a name or without, and lists them', async () => {
    const { values, printed } = await world.run('reference', 0)
    world.sandbox = values.sandbox as Sandbox
    const named = values.named as Sandbox
    expect(printed).toEqual([[expect.stringMatching(/^sb_[a-z2-7]{26}$/)], [expect.stringMatching(/^run\w{26}\.\S+$/)]])
    expect(named.name).toBe('my-agent')
    const listed = await world.run('reference', 1)
    expect(listed.printed).toEqual(expect.arrayContaining([world.sandbox, named].map(({ id }) => [id, 'running'])))
    await named.kill()
  })

  it('runs commands', async () => {
    const train = 'import os, sys\nprint(os.getcwd(), os.environ["DEBUG"], repr(sys.stdin.read()))\nsys.exit(3)\n'
    await world.sandbox.files.write('/app/train.py', train)
    const { values, printed } = await world.run('reference', 5)
    expect(printed).toEqual([['hello\n'], [true], [0]])
    expect(values.res).toMatchObject({ stdout: "/app true ''\n", stderr: '', ok: false, exit_code: 3 })
    const late = await world.sandbox.exec.run({ cmd: 'echo so far; sleep 60', timeout_ms: 300 })
    expect(late).toMatchObject({ stdout: 'so far\n', ok: false, exit_code: 124, timed_out: true })
  })

  it('forks: the clone goes its own way, and the source stays as it is', async () => {
    const { sandbox } = world
    const cwd = (await world.shell('pwd')).trim()
    await sandbox.files.write(`${cwd}/risky.py`, 'open("/app/state", "w").write("broken")\n')
    await sandbox.files.write('/app/state', 'whole')
    await sandbox.store.set('copied', { value: 1 })
    const branch = (await world.run('reference', 2)).values.branch as Sandbox
    expect(branch.id).not.toBe(sandbox.id)
    await refusal(world.client.sandboxes.get(branch.id)).toMatchObject({ status: 404, code: 'not_found' })
    const other = await sandbox.fork()
    expect(await other.files.readText('/app/state')).toBe('whole')
    await other.files.write('/app/state', 'broken')
    expect(await other.store.get('copied')).toMatchObject({ value: 1 })
    await other.kill()
    expect(await sandbox.files.readText('/app/state')).toBe('whole')
  })

  it('suspends and resumes, with files and processes as they were', async () => {
    const pid = (await world.shell('sleep 1000 >/dev/null 2>&1 & echo $!')).trim()
    await world.run('reference', 3)
    expect((await world.client.sandboxes.get(world.sandbox.id)).state).toBe('running')
    expect(await world.shell(`cat /proc/${pid}/comm; kill ${pid}; cat /app/state`)).toBe('sleep\nwhole')
  })

  it('reads, writes, lists, moves and removes files', async () => {
    const { files } = world.sandbox
    const model = new Uint8Array([0, 255, 10, 128])
    await Promise.all([
      files.write('/app/output.txt', 'naïve\n'),
      files.write('/app/model.bin', model),
      files.write('/tmp/out.json', '{}'),
      files.write('/tmp/scratch/deep/file', ''),
    ])
    const { values } = await world.run('reference', 6)
    expect(values).toMatchObject({ text: 'naïve\n', bytes: model, exists: false })
    expect(values.listing).toMatchObject({ entries: expect.arrayContaining([expect.objectContaining({ size: 4 })]) })
    expect(await world.shell('cat /app/config.json; ls -d /app/out.json /app/logs')).toBe(
      '{"debug":true}/app/logs\n/app/out.json\n',
    )
    expect([await files.exists('/tmp/out.json'), await files.exists('/tmp/scratch')]).toEqual([
      { exists: false },
      { exists: false },
    ])
  })

  it('takes checkpoints, lists, restores and deletes them', async () => {
    const { files, checkpoint } = world.sandbox
    await files.write('/app/kept', 'before')
    const pid = (await world.shell('sleep 1000 >/dev/null 2>&1 & echo $!')).trim()
    const { values, printed } = await world.run('reference', 7)
    const { cp, restored } = values as { cp: { checkpoint_id: string }; restored: { restore_duration_ms: number } }
    expect(cp).toMatchObject({ ok: true, checkpoint_id: expect.stringMatching(/^cp\w{26}$/), name: 'after-setup' })
    expect(values.checkpoints).toMatchObject([{ id: cp.checkpoint_id, name: 'after-setup' }])
    expect(printed).toEqual([[cp.checkpoint_id], [`Restored in ${restored.restore_duration_ms}ms`]])
    expect(await files.readText('/app/kept')).toBe('before')
    expect(await world.shell(`cat /proc/${pid}/comm 2>/dev/null || true`)).not.toBe('sleep\n')
    expect(await checkpoint.list()).toEqual({ checkpoints: [] })
  })

  it('keeps a service', async () => {
    expect((await world.run('reference', 8)).printed).toEqual([['running']])
    await refusal(world.sandbox.services.get('redis')).toMatchObject({ status: 404, code: 'service_not_found' })
  })

  it('keeps values by key', async () => {
    const { store } = world.sandbox
    await store.batch(['run_1', 'run_2', 'temp'].map((key) => ({ op: 'set' as const, key, value: key })))
    const started = Date.now()
    const { values } = await world.run('reference', 9)
    const entry = values.entry as { value: unknown; expires_at: string }
    expect(entry.value).toEqual({ step: 3, score: 0.91 })
    expect(Math.abs(Date.parse(entry.expires_at) - started - 3_600_000)).toBeLessThan(60_000)
    expect(values.keys).toEqual(['run_1', 'run_2'])
    expect([await store.get('result'), await store.get('temp')]).toMatchObject([{ value: { score: 0.95 } }, null])
    const missing = await world.ask('GET /v1/store/temp')
    expect(missing.status).toBe(404)
  })
})

describe('the page on files', () => {
  const path = '/absolute/path'

  it('has a disk of its own, which is ext4', async () => {
    const other = await world.client.sandboxes.create()
    await world.sandbox.files.write('/own', 'mine')
    expect(await other.files.exists('/own')).toEqual({ exists: false })
    await other.kill()
    expect(await world.shell('ls /sys/fs/ext4')).toMatch(/^vd\w$/m)
  })

  it('writes, with a mode or without, up to 1 MB', async () => {
    const { files } = world.sandbox
    await world.run('files', 0)
    expect(await files.readText('/app/config.json')).toBe('{"debug":true}')
    expect(await world.sandbox.exec.run('/app/run.sh')).toMatchObject({ stdout: 'hello\n', ok: true })
    const written = await world.send('files', 1, undefined, { body: 'raw', headers: { 'x-file-mode': '755' } })
    expect(written.status).toBe(200)
    expect(await files.stat(path)).toMatchObject({ size: 3, permissions: '755', is_dir: false })
    const most = new Uint8Array(1_048_576)
    expect((await world.ask('POST /v1/files?path=/tmp/most', { body: most })).status).toBe(200)
    const over = await world.ask('POST /v1/files?path=/tmp/over', { body: new Uint8Array(most.length + 1) })
    expect(over.status).toBe(413)
    expect(await files.exists('/tmp/over')).toEqual({ exists: false })
  })

  it('reads raw bytes', async () => {
    const bytes = new Uint8Array([0xff, 0, 0x0a])
    await world.sandbox.files.write('/app/model.bin', bytes)
    await world.sandbox.files.write('/app/output.txt', 'done\n')
    expect((await world.run('files', 2)).values).toEqual({ text: 'done\n', bytes })
    expect(await world.send('files', 3, undefined)).toMatchObject({ status: 200, text: 'raw' })
    expect((await world.ask('GET /v1/files?path=/nowhere')).status).toBe(404)
  })

  it('deletes, a directory that is not empty only with recursive', async () => {
    const { files } = world.sandbox
    await files.write('/tmp/scratch/deep/file', '')
    const refused = await world.ask('DELETE /v1/files?path=/tmp/scratch')
    expect(refused.status).toBe(409)
    await world.run('files', 4)
    expect((await world.send('files', 5, undefined)).status).toBe(200)
    expect([await files.exists('/tmp/scratch'), await files.exists(path)]).toEqual([
      { exists: false },
      { exists: false },
    ])
  })

  it('lists, and says when there is more', async () => {
    const { files } = world.sandbox
    await world.shell('rm -rf /app && mkdir /app && head -c 1024 /dev/zero >/app/main.py')
    const answer = await world.send('files', 7, [path, '/app'])
    const sample = world.sample('files', 8)
    expect(answer.json).toMatchObject(sample)
    expect(answer.json.entries).toHaveLength(1)
    await files.write('/app/src/deep/file', 'x')
    const { printed } = await world.run('files', 6)
    expect([...printed].sort()).toEqual([
      ['main.py', '1024B'],
      ['src', '(dir)'],
    ])
    expect((await files.list('/app')).truncated).toBe(true)
    const whole = await files.list('/app', { depth: 3 })
    expect(whole.truncated).toBe(false)
    expect(whole.entries.map(({ name }) => name).sort()).toEqual(['main.py', 'src', 'src/deep', 'src/deep/file'])
  })

  it('makes directories, those above only with parents', async () => {
    await world.shell('rm -rf /app')
    const { files } = world.sandbox
    await refusal(files.mkdir({ path: '/app/logs' })).toMatchObject({ status: 404 })
    await world.run('files', 9)
    expect(await files.stat('/app/logs')).toMatchObject({ is_dir: true })
    expect((await world.send('files', 10, undefined, { body: world.json('files', 11) })).status).toBe(200)
  })

  it('moves and renames', async () => {
    const { files } = world.sandbox
    for (const move of [
      () => world.run('files', 12),
      () => world.send('files', 13, undefined, { body: world.json('files', 14) }),
    ]) {
      await files.write('/tmp/output.json', '{"a":1}')
      await move()
      expect(await files.readText('/app/result.json')).toBe('{"a":1}')
      expect(await files.exists('/tmp/output.json')).toEqual({ exists: false })
      await files.remove('/app/result.json')
    }
  })

  it('tells what is known of a path', async () => {
    await world.sandbox.files.write('/app/output.txt', 'done\n')
    const [printed = []] = (await world.run('files', 15)).printed
    expect(printed).toEqual([5, expect.stringMatching(/^20\d\d-\d\d-\d\dT.*Z$/), '644'])
    const { modified_at, ...sample } = world.sample('files', 17)
    await world.shell(`head -c ${sample.size} /dev/zero >/app/script.sh && chmod 755 /app/script.sh`)
    await world.shell(`touch -d ${modified_at} /app/script.sh`)
    const { json } = await world.send('files', 16, [path, '/app/script.sh'])
    expect(json).toMatchObject(sample)
    expect(Date.parse(String(json.modified_at))).toBe(Date.parse(String(modified_at)))
    await world.shell('ln -s script.sh /app/link')
    expect(await world.sandbox.files.stat('/app/link')).toMatchObject({ symlink_target: 'script.sh', is_dir: false })
  })

  it('tells whether something exists, and what', async () => {
    const cwd = (await world.shell('pwd')).trim()
    await world.sandbox.files.write(`${cwd}/generate_data.py`, 'open("/app/data.csv", "a").write("1\\n")\n')
    for (const exists of [false, true]) expect((await world.run('files', 18)).values).toEqual({ exists })
    expect(await world.sandbox.files.readText('/app/data.csv')).toBe('1\n')
    expect((await world.send('files', 19, [path, '/app/data.csv'])).json).toEqual(world.sample('files', 20))
    for (const [at, entry_type] of [
      ['/app', 'directory'],
      ['/app/link', 'symlink'],
    ] as const)
      expect((await world.ask(`GET /v1/files/exists?path=${at}`)).json).toEqual({ exists: true, entry_type })
  })
})

describe('the page on services', () => {
  const named = ['{name}', 'redis'] as const

  it('defines a service by every field, keeps to each, and takes another definition', async () => {
    const { services } = world.sandbox
    await world.shell('mkdir -m 777 /data')
    const data = ['-D', '/var/lib/postgresql/data']
    await services.upsert('postgres', { cmd: 'postgres', args: data, health_port: 5432 })
    const definition = world.json('services', 2)
    const answer = await world.send('services', 1, named, { body: definition })
    expect(answer.status).toBe(200)
    expect(answer.json).toMatchObject({ name: 'redis', status: 'stopped', ...JSON.parse(definition) })
    const { pid } = await services.start('redis')
    expect(await world.shell(`stat -c %U /proc/${pid}; readlink /proc/${pid}/cwd`)).toBe('nobody\n/data\n')
    expect(await services.get('postgres')).toMatchObject({ status: 'running' })
    for (const name of ['redis', 'postgres']) await services.stop(name)
    await world.run('services', 0)
    expect(await services.get('redis')).toMatchObject({ args: ['--port', '6379'], needs: [], env: {} })
  })

  it('starts and stops it', async () => {
    const { services } = world.sandbox
    await services.start('redis')
    expect(await world.shell('redis-cli ping')).toBe('PONG\n')
    await world.run('services', 3)
    await refusal(world.shell('redis-cli ping')).toThrow('refused')
    expect((await services.get('redis')).status).toBe('stopped')
    expect((await world.send('services', 4, named)).json).toMatchObject({ status: 'running' })
    expect((await world.send('services', 5, named)).json).toMatchObject({ status: 'stopped' })
  })

  it('tells how it is, alone and among all, also one that failed', async () => {
    await world.sandbox.services.start('redis')
    const [[status, pid] = []] = (await world.run('services', 6)).printed
    expect(status).toBe('running')
    expect(await world.shell(`cat /proc/${pid}/comm`)).toBe('redis-server\n')
    const sample = world.sample('services', 8)
    expect((await world.send('services', 7, named)).json).toMatchObject({ ...sample, pid })
    expect((await world.run('services', 9)).printed).toEqual([
      ['postgres', 'stopped'],
      ['redis', 'running'],
    ])
    expect((await world.send('services', 10, undefined)).json).toMatchObject([{ name: 'postgres' }, { name: 'redis' }])
    const { services } = world.sandbox
    await services.upsert('broken', {
      cmd: 'sh',
      args: ['-c', 'echo "$REASON" >/tmp/reason; exit 3'],
      env: { REASON: 'none' },
      health_port: 1,
    })
    await refusal(services.start('broken')).toMatchObject({ status: 409, code: 'service_failed' })
    expect(await services.get('broken')).toMatchObject({ status: 'failed', exit_code: 3, pid: null })
    expect(await world.sandbox.files.readText('/tmp/reason')).toBe('none\n')
    await services.delete('broken')
  })

  it('comes back with a checkpoint: files as they were, services that ran running, the store as it is', async () => {
    const { checkpoint, files, services, store } = world.sandbox
    await files.write('/app/kept', 'before', '0750')
    await store.set('progress', { value: 1 })
    await world.shell('redis-cli set colour green && redis-cli save')
    const { checkpoint_id } = await checkpoint.create()
    await checkpoint.wait({ checkpoint_id })
    await files.write('/app/kept', 'after')
    await files.write('/app/new', '')
    await store.set('progress', { value: 2 })
    await world.shell('redis-cli set colour red && redis-cli save')
    await services.upsert('late', { cmd: 'sleep', args: ['1000'] })
    await services.start('late')

    const restored = await checkpoint.restore(checkpoint_id)
    const reported = { started_services: ['redis'], stopped_services: ['late'], failed_services: [] }
    expect(restored).toMatchObject({ ok: true, ...reported })
    expect((await services.list()).map(({ name, status }) => `${name} ${status}`)).toEqual([
      'postgres stopped',
      'redis running',
    ])
    expect(await world.shell('redis-cli get colour')).toBe('green\n')
    expect(await files.readText('/app/kept')).toBe('before')
    expect(await files.stat('/app/kept')).toMatchObject({ permissions: '750' })
    expect(await files.exists('/app/new')).toEqual({ exists: false })
    expect(await store.get('progress')).toMatchObject({ value: 2 })
  })

  it('starts first what a service needs', async () => {
    await world.run('services', 11)
    const all = await world.sandbox.services.list()
    expect(all.map(({ name, status }) => `${name} ${status}`)).toEqual([
      'pgbouncer running',
      'postgres running',
      'redis running',
    ])
    const startOf = (wanted: string) => Date.parse(all.find(({ name }) => name === wanted)?.started_at ?? '')
    expect(startOf('postgres')).toBeLessThan(startOf('pgbouncer'))
    expect(await world.shell('psql -h 127.0.0.1 -p 6432 -U postgres -tAc "select 6 * 7"')).toBe('42\n')
  })

  it('runs one in a container', async () => {
    await world.run('services', 12)
    expect(await world.sandbox.services.get('app')).toMatchObject({ status: 'running', container: true })
    const seen = JSON.parse(await world.shell('curl -s http://127.0.0.1:3000/here')) as Record<string, unknown>
    expect(seen).toMatchObject({ path: '/here', port: '3000' })
    await world.sandbox.services.delete('app')
  })

  it('runs a command in its container', async () => {
    const { services } = world.sandbox
    await services.stop('redis')
    await services.upsert('redis', { cmd: 'redis-server', container: true, image: 'redis:7', health_port: 6379 })
    await services.start('redis')
    expect((await world.run('services', 13)).printed).toEqual([['PONG\n']])
    const answer = await world.send('services', 14, named, { body: world.json('services', 15) })
    expect(answer.json).toMatchObject({ stdout: 'PONG\n', ok: true, exit_code: 0 })
    const body = JSON.stringify({ cmd: ['sleep', '60'], timeout_secs: 0.5 })
    expect((await world.send('services', 14, named, { body })).json).toMatchObject({ ok: false, timed_out: true })
  })

  it('stops and forgets one that is deleted', async () => {
    const { services } = world.sandbox
    await world.run('services', 16)
    await refusal(services.get('redis')).toMatchObject({ status: 404 })
    await services.upsert('redis', { cmd: 'redis-server', health_port: 6379 })
    await services.start('redis')
    expect((await world.send('services', 17, named)).status).toBe(200)
    expect((await services.list()).map(({ name }) => name)).not.toContain('redis')
    await refusal(world.shell('redis-cli ping')).toThrow('refused')
  })
})

describe('the host of a sandbox', () => {
  it('takes a token of this sandbox alone, and no API key', async () => {
    const line = 'GET /v1/files/list?path=/'
    expect((await world.ask(line)).status).toBe(200)
    const withKey = await world.ask(line, { token: world.test.platform.apiKey })
    expect([withKey.status, withKey.header('www-authenticate')]).toEqual([
      401,
      expect.stringContaining('invalid_token'),
    ])
    const other = await world.client.sandboxes.create()
    expect((await world.ask(line, { token: await world.token(other.id) })).status).toBe(403)
    await other.kill()
  })

  it('is over with its sandbox, which is deleted as often as one likes', async () => {
    await world.run('reference', 4)
    await refusal(world.sandbox.exec.run('true')).toMatchObject({ name: 'IrisError', status: 404 })
    expect((await world.client.sandboxes.list()).map(({ id }) => id)).not.toContain(world.sandbox.id)
  })
})

describe('a Connect client', () => {
  type Told = { readonly id: string; readonly name: string; readonly state: string; readonly domain: string }
  const connected = (key: string) => connectGateway(world.test.platform.url, key)

  it('does with sandboxes, by all eight methods, what it is told', async () => {
    const calls = connected(world.test.platform.apiKey)
    const stateOf = async (sandboxId: string) => ((await calls.GetSandbox({ sandboxId })).sandbox as Told).state
    const before = Math.floor(Date.now() / 1000)
    const made = await calls.CreateSandbox({ name: 'my-agent' })
    const { id: sandboxId, ...told } = made.sandbox as Told
    expect(told).toMatchObject({ name: 'my-agent', state: 'running' })
    expect(made.dataPlaneToken).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
    expect(Number(made.dataPlaneTokenExpiresAtUnix) - before).toBeGreaterThanOrEqual(3600)
    expect(Number(made.dataPlaneTokenExpiresAtUnix) - before).toBeLessThan(3660)

    const fork = (await calls.ForkSandbox({ sandboxId, name: 'branch' })).sandbox as Told
    expect(fork).toMatchObject({ name: 'branch', state: 'running' })
    const { sandboxes } = await calls.ListSandboxes({})
    expect((sandboxes as Told[]).map(({ id }) => id)).toEqual(expect.arrayContaining([sandboxId, fork.id]))
    await calls.DeleteSandbox({ sandboxId: fork.id })

    for (const _again of [1, 2]) {
      await calls.SuspendSandbox({ sandboxId })
      expect(await stateOf(sandboxId)).toBe('suspended')
    }
    for (const _again of [1, 2]) expect((await calls.ResumeSandbox({ sandboxId })).dataPlaneToken).toBeTruthy()
    expect(await stateOf(sandboxId)).toBe('running')

    const issued = await calls.IssueDataPlaneToken({ sandboxId, ttlSeconds: 600n })
    const left = Number(issued.dataPlaneTokenExpiresAtUnix) - Math.floor(Date.now() / 1000)
    expect(left).toBeGreaterThan(540)
    expect(left).toBeLessThanOrEqual(600)
    for (const _again of [1, 2]) await calls.DeleteSandbox({ sandboxId })
  })

  it('gets errors as codes of its own', async () => {
    const calls = connected(world.test.platform.apiKey)
    const nobody = { sandboxId: `sb_${'a'.repeat(26)}` }
    const codeOf = async (call: Promise<unknown>) => {
      const error = await call.then(
        () => undefined,
        (cause: unknown) => ConnectError.from(cause),
      )
      return error === undefined ? undefined : Code[error.code]
    }
    expect(await codeOf(calls.GetSandbox(nobody))).toBe('NotFound')
    expect(await codeOf(calls.SuspendSandbox(nobody))).toBe('NotFound')
    expect(await codeOf(calls.GetSandbox({}))).toBe('InvalidArgument')
    expect(await codeOf(calls.CreateSandbox({ name: 'x'.repeat(10_000) }))).toBe('InvalidArgument')
    expect(await codeOf(connected('iris_sk_wrong').ListSandboxes({}))).toBe('Unauthenticated')
  })
})

it('leaves no block of the documents out', () => {
  expect(world.left()).toEqual([])
})
