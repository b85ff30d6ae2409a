/** Services, checkpoints and the store of a sandbox, against a platform in the test's own process. */

import { WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli, direct, Running } from './process.ts'
import { newSandbox } from './sandbox.ts'

let wire: WireServer
let id: string

beforeEach(async () => {
  wire = await WireServer.open()
  id = await newSandbox(wire)
})

afterEach(async () => {
  await wire.close()
})

const run = (...args: string[]) => cli(args, wire.environment)
const done = (stdout: string) => ({ code: 0, stdout, stderr: '' })
const body = () => JSON.parse(wire.requests.at(-1)?.body.toString() ?? '')

describe('portico service', () => {
  it('defines one, with all that it is told', async () => {
    const how = [
      '-e',
      'A=1',
      '--cwd',
      '/srv',
      '--user',
      'nobody',
      '--health-port',
      '8000',
      '--needs',
      'db',
      '--needs',
      'mq',
    ]
    const when = ['--restart', 'always', '--start-timeout', '2m', '--stop-timeout', '500ms']
    expect(await run('service', 'set', id, 'web', ...how, ...when, '--', 'python3', '-m', 'x')).toEqual(done('web\n'))
    expect(body()).toEqual({
      cmd: 'python3',
      args: ['-m', 'x'],
      env: { A: '1' },
      working_dir: '/srv',
      user: 'nobody',
      health_port: 8000,
      needs: ['db', 'mq'],
      restart: 'always',
      start_timeout_secs: 120,
      stop_timeout_secs: 0.5,
    })
    expect(await run('service', 'set', id, 'web')).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/after --/),
    })
  })

  it('starts, lists and shows', async () => {
    await run('service', 'set', id, 'web', '--', 'serve', 'it')
    await run('service', 'set', id, 'bad', '--', 'fails')
    const started = await run('service', 'start', id, 'web', 'bad')
    expect(started).toMatchObject({ code: 125, stdout: 'web\n' })
    expect(started.stderr).toMatch(/cannot start bad: it ended with 1\nhint: .*service logs/)
    expect((await run('service', 'list', id)).stdout).toMatch(
      /^NAME .*\nweb +running +41 +- +0 +\S.* ago +serve it\nbad +stopped +- +- +0 +- +fails\n$/,
    )
    expect((await run('service', 'list', id, '-q')).stdout).toBe('web\nbad\n')
    expect((await run('service', 'status', id, 'web')).stdout).toMatch(/\nstatus +running\npid +41\n/)
    expect(JSON.parse((await run('service', 'status', id, 'web', '--json')).stdout)).toMatchObject({ pid: 41 })
  })

  it('stops and deletes', async () => {
    await run('service', 'set', id, 'web', '--start', '--', 'serve')
    expect(await run('service', 'stop', id, 'web')).toEqual(done('web\n'))
    expect(wire.services.all.get('web')?.status).toBe('stopped')
    expect(await run('service', 'rm', id, 'web')).toEqual(done('web\n'))
    expect(wire.services.all.size).toBe(0)
    const missing = await run('service', 'status', id, 'web')
    expect(missing).toMatchObject({ code: 125, stderr: expect.stringMatching(/hint: .*service list/) })
  })

  it('runs a command in a container, and ends as it does', async () => {
    const set = await run('service', 'set', id, 'db', '--image', 'postgres:17', '--start', '--json', '--', 'postgres')
    expect(JSON.parse(set.stdout)).toMatchObject({ container: true, image: 'postgres:17', status: 'running' })
    expect(await run('service', 'exec', id, 'db', '--', 'psql', '-c', 'x')).toEqual(done('psql -c x\n'))
    expect(await run('service', 'exec', id, 'db', '--timeout', '5s', '--', 'false')).toMatchObject({ code: 1 })
    expect(body()).toEqual({ cmd: ['false'], timeout_secs: 5 })
  })

  it('prints what it has printed, and with --follow what it prints', async () => {
    await run('service', 'set', id, 'web', '--', 'serve')
    const log = wire.services.log('web')
    log.print('stdout', 'ready\n')
    log.print('stderr', 'hm\n')
    expect(await run('service', 'logs', id, 'web')).toEqual({ code: 0, stdout: 'ready\n', stderr: 'hm\n' })
    const [first = ''] = (await run('service', 'logs', id, 'web', '--from', '2', '--json')).stdout.split('\n')
    expect(JSON.parse(first)).toEqual({ type: 'stdout', offset: 2, bytes: 'YWR5Cg==' })
    const following = new Running([...direct, 'service', 'logs', id, 'web', '-f'], wire.environment)
    await following.printed('ready\n')
    log.print('stdout', 'more\n')
    await following.printed('more\n')
    following.kill('SIGINT')
    expect((await following.ended()).code).toBe(130)
  })
})

describe('portico checkpoint', () => {
  it('makes, lists, goes back and deletes', async () => {
    const { files, checkpoints } = wire.sandboxes.get(id) ?? {}
    const { code, stdout } = await run('checkpoint', 'create', id, '--name', 'clean', '--wait')
    const name = stdout.trim()
    expect([code, name, body()]).toEqual([0, expect.stringMatching(/^cp[a-z2-7]{26}$/), { name: 'clean', wait: true }])
    expect((await run('checkpoint', 'list', id)).stdout).toMatch(
      new RegExp(`^ID .*\n${name} +clean +12 MiB +ready +\\S.*\n$`),
    )
    files?.set('/later', { bytes: Buffer.alloc(0), mode: '644' })
    expect(await run('checkpoint', 'restore', id, name)).toEqual(done(`${name}\n`))
    expect(files?.has('/later')).toBe(false)
    expect(await run('checkpoint', 'rm', id, name)).toEqual(done(`${name}\n`))
    expect(checkpoints?.size).toBe(0)
    const missing = await run('checkpoint', 'restore', id, name)
    expect(missing).toMatchObject({ code: 125, stderr: expect.stringMatching(/hint: .*checkpoint list/) })
  })

  it('fails where a service could not be started again, and says which', async () => {
    const name = (await run('checkpoint', 'create', id)).stdout.trim()
    const answer = { ok: true, checkpoint_id: name, restore_duration_ms: 1, started_services: [], stopped_services: [] }
    wire.intercept('POST /v1/runs/*/restore', (_seen, response) =>
      response.end(JSON.stringify({ ...answer, failed_services: ['db'] })),
    )
    const restored = await run('checkpoint', 'restore', id, name)
    expect(restored).toMatchObject({ code: 125, stdout: `${name}\n`, stderr: expect.stringMatching(/again: db\nhint/) })
  })
})

describe('portico store', () => {
  it('keeps text as text, for so long', async () => {
    expect(await run('store', 'set', id, 'a/b', '12', '--ttl', '1m')).toEqual(done(''))
    expect(body()).toEqual({ value: '12', ttl_seconds: 60 })
    expect((await run('store', 'get', id, 'a/b')).stdout).toBe('12\n')
    expect((await run('store', 'get', id, 'a/b', '--json')).stdout).toBe(
      '{"value":"12","expiresAt":"2026-01-01T00:01:00.000Z"}\n',
    )
  })

  it('keeps JSON as JSON, and what comes from a pipe', async () => {
    await run('store', 'set', id, 'n', '{"a":[1]}', '--json')
    expect((await run('store', 'get', id, 'n')).stdout).toBe('{"a":[1]}\n')
    await cli(['store', 'set', id, 'piped', '-'], wire.environment, 'from a pipe')
    expect((await run('store', 'get', id, 'piped')).stdout).toBe('from a pipe\n')
    expect(await run('store', 'set', id, 'n', '{', '--json')).toMatchObject({ code: 125 })
  })

  it('lists all keys, however many pages they are, and deletes', async () => {
    const { store } = wire.sandboxes.get(id) ?? {}
    const keys = Array.from({ length: 1500 }, (_, index) => `k${String(index).padStart(4, '0')}`)
    for (const key of keys) store?.set(key, { key, value: 1, expires_at: null })
    store?.set('other', { key: 'other', value: 1, expires_at: null })
    expect((await run('store', 'list', id, '--prefix', 'k')).stdout).toBe(keys.map((key) => `${key}\n`).join(''))
    const removed = await run('store', 'rm', id, 'other', 'missing')
    expect(removed).toMatchObject({ code: 125, stdout: 'other\n', stderr: expect.stringMatching(/no such key/) })
    expect(await run('store', 'get', id, 'other')).toMatchObject({ code: 125, stdout: '' })
  })
})
