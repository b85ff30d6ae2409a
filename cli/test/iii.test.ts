/** `portico-iii`, and `portico iii`, as scripts for iii's own command line use it. */

import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execAnswer } from '@portico/sdk/test-guest'
import { WireServer } from '@portico/sdk/test-server'
import { uuidOf } from '@portico/shared/ids'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Failure, WireEngine } from './engine.ts'
import { cli, type Ended, Running } from './process.ts'
import { newSandbox } from './sandbox.ts'

const program = join(import.meta.dirname, '..', 'bin', 'portico-iii.js')
const direct = [process.execPath, '--conditions=portico-source', program]
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$/

let wire: WireServer
let engine: WireEngine

beforeEach(async () => {
  wire = await WireServer.open()
  engine = new WireEngine(wire)
})

afterEach(async () => {
  await wire.close()
})

async function sandbox(...args: string[]): Promise<Ended> {
  const running = new Running([...direct, 'sandbox', ...args], wire.environment)
  running.child.stdin.end()
  return await running.ended()
}

async function made(): Promise<string> {
  return uuidOf((await newSandbox(wire)) as never)
}

/** What was started in a sandbox. */
function started(): Record<string, unknown> {
  const seen = wire.requests.findLast(({ method, path }) => method === 'POST' && path.endsWith('/processes'))
  return JSON.parse(seen?.body.toString() ?? '{}')
}

describe('sandbox create', () => {
  it('prints the UUID of a sandbox and nothing else where it is piped', async () => {
    expect(await sandbox('create', 'python')).toEqual({ code: 0, stdout: expect.stringMatching(uuid), stderr: '' })
    expect(engine.calls).toEqual([{ name: 'sandbox::create', data: { image: 'python' } }])
    expect(engine.paths).toEqual([`/iii/${wire.apiKey}`])
    expect(wire.sandboxes.size).toBe(1)
  })

  it('passes its options on, without entries that have no =', async () => {
    const machine = ['--cpus', '2', '--memory', '512', '--idle-timeout', '300', '--name', 'a b', '--network']
    await sandbox('create', 'python', ...machine, '-e', 'A=1', '--env', 'B=x=y', '-e', 'NOTHING')
    expect(engine.calls[0]?.data).toEqual({
      image: 'python',
      cpus: 2,
      memory_mb: 512,
      idle_timeout_secs: 300,
      name: 'a b',
      network: true,
      env: ['A=1', 'B=x=y'],
    })
  })

  it('says at a terminal how long it took, before the UUID', async () => {
    const line = `exec ${[...direct, 'sandbox', 'create', 'python'].map((word) => `'${word}'`).join(' ')}`
    const environment = { ...wire.environment, SHELL: '/bin/sh' }
    const { stdout } = await new Running(['script', '-qec', line, '/dev/null'], environment).ended()
    expect(stdout).toMatch(/^✓ sandbox ready in \d+\.\ds\r\n[0-9a-f-]{36}\r\n$/)
  })

  it.each(['>', '2>'])('says nothing of it at a terminal with one stream elsewhere (%s)', async (where) => {
    const folder = await mkdtemp(join(tmpdir(), 'cli-iii-'))
    try {
      const words = [...direct, 'sandbox', 'create', 'python'].map((word) => `'${word}'`).join(' ')
      const environment = { ...wire.environment, SHELL: '/bin/sh' }
      const line = `exec ${words} ${where}${join(folder, 'out')}`
      const { stdout } = await new Running(['script', '-qec', line, '/dev/null'], environment).ended()
      expect(`${stdout}${await readFile(join(folder, 'out'), 'utf8')}`.replace('\r', '')).toMatch(uuid)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('tells an S-code in one line and ends with 1', async () => {
    engine.functions['sandbox::create'] = () => new Failure('S100', "image 'ruby' is not allowed", 'config')
    expect(await sandbox('create', 'ruby')).toEqual({
      code: 1,
      stdout: '',
      stderr: "portico: S100: image 'ruby' is not allowed\n",
    })
  })

  it('that is interrupted destroys what comes of it', async () => {
    const release = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const create = engine.functions['sandbox::create']
    engine.functions['sandbox::create'] = async (data) => {
      asked.resolve()
      await release.promise
      return await create?.(data)
    }
    const running = new Running([...direct, 'sandbox', 'create', 'python'], wire.environment)
    await asked.promise
    const destroyed = wire.arrival('DELETE /v1/runs/*')
    running.kill('SIGINT')
    release.resolve()
    await destroyed
    expect(await running.ended()).toEqual({ code: 130, stdout: '', stderr: '' })
    expect(wire.sandboxes.size).toBe(0)
  })
})

describe('sandbox exec', () => {
  it('prints what the command prints, each stream where it belongs, and ends with its exit code', async () => {
    const id = await made()
    wire.exec = () => execAnswer({ stdout: '4\n', stderr: 'warning\n', exit_code: 3 })
    expect(await sandbox('exec', id, '--', 'python3', '-c', 'print(2+2)', '-e', '--port')).toEqual({
      code: 3,
      stdout: '4\n',
      stderr: 'warning\n',
    })
    expect(started()).toMatchObject({ command: ['python3', '-c', 'print(2+2)', '-e', '--port'] })
    expect(started()).not.toHaveProperty('timeout')
  })

  it.each([
    ['500ms', 0.5],
    ['1h30m', 5400],
  ])('gives the command %s', async (text, timeout) => {
    await sandbox('exec', await made(), '--timeout', text, '-e', 'A=1', '-e', 'B', '--', 'echo')
    expect(started()).toMatchObject({ timeout, env: { A: '1' } })
  })

  it('ends with 124 after its time, as timeout(1) does', async () => {
    expect(await sandbox('exec', await made(), '--timeout', '2s', '--', 'slow')).toEqual({
      code: 124,
      stdout: 'so far\n',
      stderr: '',
    })
  })

  it('says that there is no such sandbox, that it is over, or that it is no UUID', async () => {
    const none = 'e2c1f8a0-0000-4000-8000-000000000000'
    const ended = { code: 1, stdout: '' }
    expect(await sandbox('exec', none, '--', 'x')).toEqual({
      ...ended,
      stderr: `portico: S002: sandbox not found: ${none}\n`,
    })
    engine.functions['sandbox::exec'] = () => new Failure('S004', 'sandbox already stopped')
    const over = await sandbox('exec', none, '--', 'x')
    expect(over).toEqual({ ...ended, stderr: 'portico: S004: sandbox already stopped\n' })
    const stderr = 'portico: S001: sandbox_id is not a valid UUID: nonsense\n'
    expect(await sandbox('exec', 'nonsense', '--', 'x')).toEqual({ ...ended, stderr })
  })

  it('takes Ctrl-C to the command', async () => {
    const arrived = wire.arrival('GET /v1/runs/*/output')
    const running = new Running([...direct, 'sandbox', 'exec', await made(), '--', 'hang'], wire.environment)
    await arrived
    running.kill('SIGINT')
    expect((await running.ended()).code).toBe(130)
    expect(wire.sandboxes.size).toBe(1)
  })
})

describe('sandbox run', () => {
  it('creates a sandbox, runs the command, and leaves none', async () => {
    wire.exec = () => execAnswer({ stdout: '1024\n', exit_code: 5 })
    const ended = await sandbox(
      'run',
      'python',
      '--cpus',
      '2',
      '--memory',
      '512',
      '--',
      'python3',
      '-c',
      'print(2 ** 10)',
    )
    expect(ended).toEqual({ code: 5, stdout: '1024\n', stderr: '' })
    expect(engine.calls).toEqual([{ name: 'sandbox::create', data: { image: 'python', cpus: 2, memory_mb: 512 } }])
    expect(wire.sandboxes.size).toBe(0)
  })

  it('leaves none when the command cannot be run', async () => {
    wire.fail('POST /v1/runs/*', 'runner_disconnected')
    const ended = await sandbox('run', 'python', '--', 'x')
    expect(ended).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^portico: cannot do it/) })
    expect(wire.sandboxes.size).toBe(0)
  })

  it('wants a command', async () => {
    expect(await sandbox('run', 'python')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no command is given/),
    })
    expect(wire.requests).toEqual([])
  })
})

describe('sandbox list and stop', () => {
  it('list prints a table, with --all the same', async () => {
    const id = await made()
    const { code, stdout } = await sandbox('list')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ID +NAME +IMAGE +AGE +EXEC +STATE\n/)
    expect(stdout.split('\n')[1]).toMatch(new RegExp(`^${id}  -     python  1m 5s  yes   running$`))
    expect((await sandbox('list', '--all')).stdout).toBe(stdout)
  })

  it('stop is silent, and the second time S002', async () => {
    const id = await made()
    expect(await sandbox('stop', id)).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(engine.calls[0]).toEqual({ name: 'sandbox::stop', data: { sandbox_id: id, wait: true } })
    const stderr = `portico: S002: sandbox not found: ${id}\n`
    expect(await sandbox('stop', id)).toEqual({ code: 1, stdout: '', stderr })
  })
})

describe('the platform', () => {
  it('is on this machine with --port', async () => {
    const { PORTICO_API_KEY } = wire.environment
    const args = [...direct, 'sandbox', 'list', '--port', new URL(wire.url).port]
    const running = new Running(args, { PORTICO_API_KEY, PORTICO_URL: 'http://127.0.0.1:9' })
    expect(await running.ended()).toMatchObject({ code: 0, stderr: '' })
  })

  it('that refuses the key, or is not there, is said so', async () => {
    const run = (environment: Record<string, string>) =>
      new Running([...direct, 'sandbox', 'list'], { ...wire.environment, ...environment }).ended()
    expect(await run({ PORTICO_API_KEY: 'wrong' })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^portico: cannot use the API: the key is not known\n/),
    })
    expect(await run({ PORTICO_URL: 'http://127.0.0.1:4' })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no answer from http:\/\/127\.0\.0\.1:4: connection refused\n/),
    })
  })

  it('that breaks off in the middle is said so', async () => {
    engine.functions['sandbox::list'] = () => wire.sockets.close()
    expect(await sandbox('list')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^portico: cannot finish sandbox::list: the connection broke\n/),
    })
  })
})

describe('the program', () => {
  it('serves the lines of iii under an alias, and `portico iii` is the same', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cli-iii-'))
    try {
      await symlink(program, join(folder, 'portico-iii'))
      const script = [
        'shopt -s expand_aliases',
        `alias iii='${process.execPath} --conditions=portico-source ${join(folder, 'portico-iii')}'`,
        'SB=$(iii sandbox create python --idle-timeout 300)',
        'iii sandbox exec "$SB" -- echo 4',
        'iii sandbox stop "$SB"',
        'iii sandbox run python -- echo hi',
      ].join('\n')
      const shell = new Running(['bash', '--norc', '-c', script], wire.environment)
      expect(await shell.ended()).toEqual({ code: 0, stdout: '4\nhi\n', stderr: '' })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
    const same = await cli(['iii', 'sandbox', 'run', 'python', '--', 'echo', 'hi'], wire.environment)
    expect(same).toEqual({ code: 0, stdout: 'hi\n', stderr: '' })
    expect(wire.sandboxes.size).toBe(0)
  })

  it('has help', async () => {
    const help = await new Running([...direct, '--help'], {}).ended()
    expect(help).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Usage: portico-iii /), stderr: '' })
    const { stdout } = await sandbox('--help')
    for (const name of ['run', 'create', 'exec', 'list', 'stop'])
      expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
  })
})
