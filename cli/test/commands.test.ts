import { WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli, direct, Running } from './process.ts'

let wire: WireServer

beforeEach(async () => {
  wire = await WireServer.open()
})

afterEach(async () => {
  await wire.close()
})

const run = (...args: string[]) => cli(args, wire.environment)

async function create(image = 'python'): Promise<string> {
  return (await run('create', image)).stdout.trim()
}

describe('portico create', () => {
  it('prints the id and nothing else', async () => {
    const ended = await run('create', 'python', '--memory', '256', '-e', 'A=b')
    expect(ended).toEqual({ code: 0, stdout: expect.stringMatching(/^run[a-z2-7]{26}\n$/), stderr: '' })
    expect(JSON.parse(wire.requests[0]?.body.toString() ?? '')).toEqual({
      image: 'python',
      mem_mib: 256,
      env: { A: 'b' },
    })
    expect(wire.sandboxes.has(ended.stdout.trim())).toBe(true)
  })

  it('prints the record with --json', async () => {
    const { stdout } = await run('create', 'node:22', '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      image: 'node:22',
      resolvedImage: 'node',
      status: 'running',
      memMiB: 1024,
    })
  })

  it('when interrupted leaves no sandbox whose id nobody knows', async () => {
    const arrived = wire.arrival('POST /v1/runs')
    const interrupted = Promise.withResolvers<void>()
    wire.intercept('POST /v1/runs', async (seen, response) => {
      await interrupted.promise
      await wire.answer(seen, response)
    })
    const running = new Running([...direct, 'create', 'python'], wire.environment)
    await arrived
    running.kill('SIGTERM')
    const destroyed = wire.arrival('DELETE /v1/runs/*')
    interrupted.resolve()
    await Promise.race([destroyed, running.ended()])
    const { code, stdout } = await running.ended()
    // Whichever came first at the program, signal or answer: it has told the id, or the sandbox is gone.
    expect([...wire.sandboxes.keys()]).toEqual(code === 0 ? [stdout.trim()] : [])
  })
})

describe('portico exec', () => {
  it('runs a command in a sandbox that stays', async () => {
    const id = await create()
    expect(await run('exec', id, '--', 'echo', 'hi')).toEqual({ code: 0, stdout: 'hi\n', stderr: '' })
    expect(await run('exec', id, '--', 'exit', '9')).toMatchObject({ code: 9 })
    expect(await run('exec', id, '--timeout', '1', '--', 'slow')).toMatchObject({ code: 124, stdout: 'so far\n' })
    expect(wire.sandboxes.has(id)).toBe(true)
  })

  it('passes standard input, directory and variables on', async () => {
    const id = await create()
    expect((await cli(['exec', id, '-i', '--', 'cat'], wire.environment, 'in')).stdout).toBe('in')
    expect((await run('exec', id, '--cwd', '/app', '--', 'pwd')).stdout).toBe('/app\n')
    expect((await run('exec', '-e', 'WHO=me', id, '--', 'printenv', 'WHO')).stdout).toBe('me\n')
  })

  it('prints one line of JSON with --json', async () => {
    const { stdout, code } = await run('exec', await create(), '--json', '--', 'exit', '2')
    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({ exitCode: 2, stdout: '', timedOut: false })
  })

  it('says that a sandbox does not exist', async () => {
    expect(await run('exec', 'runaaaa', '--', 'echo')).toEqual({
      code: 125,
      stdout: '',
      stderr: 'portico: cannot find sandbox runaaaa\nhint: `portico list` shows those that exist.\n',
    })
  })
})

describe('portico list', () => {
  it('prints an aligned table, newest first', async () => {
    const first = await create('python')
    const second = await create('registry.example/a/long/name:1')
    const { code, stdout, stderr } = await run('list')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const lines = stdout.split('\n')
    expect(lines[0]).toBe(
      'ID                             NAME  STATUS   IMAGE                           CPUS  MEMORY    AGE',
    )
    expect(lines[1]).toMatch(
      new RegExp(`^${second}  -     running  registry\\.example/a/long/name:1  1     1024 MiB  \\d+s$`),
    )
    expect(lines[2]).toMatch(new RegExp(`^${first}  -     running  python {26}1     1024 MiB  \\d+s$`))
    expect(lines.slice(3)).toEqual([''])
  })

  it('prints the heading alone where there is nothing', async () => {
    expect((await run('list')).stdout).toBe('ID  NAME  STATUS  IMAGE  CPUS  MEMORY  AGE\n')
    expect((await run('list', '-q')).stdout).toBe('')
    expect((await run('list', '--json')).stdout).toBe('[]\n')
  })

  it('prints ids alone with -q, and everything with --json', async () => {
    const id = await create()
    expect((await run('list', '-q')).stdout).toBe(`${id}\n`)
    expect(JSON.parse((await run('list', '--json')).stdout)).toMatchObject([{ id, image: 'python', timeoutSec: 300 }])
  })

  it('shows no control characters of a name', async () => {
    await create('pyth\u001b[31mon')
    expect((await run('list')).stdout).toContain('pyth\ufffd[31mon')
  })
})

describe('portico stop', () => {
  it('destroys all that it is given and prints their ids', async () => {
    const ids = [await create(), await create()]
    expect(await run('stop', ...ids)).toEqual({ code: 0, stdout: `${ids.join('\n')}\n`, stderr: '' })
    expect(wire.sandboxes.size).toBe(0)
  })

  it('destroys the others when one does not exist, tells of it and ends with 125', async () => {
    const id = await create()
    const ended = await run('stop', 'runaaaa', id)
    expect(ended).toMatchObject({ code: 125, stdout: `${id}\n` })
    expect(ended.stderr).toMatch(/^portico: cannot find sandbox runaaaa\nhint: .*\n$/)
    expect(wire.sandboxes.size).toBe(0)
  })

  it('prints what each used with --json', async () => {
    const id = await create()
    expect(JSON.parse((await run('stop', id, '--json')).stdout)).toMatchObject([
      { id, uptimeMs: 1500, costCents: 0.0016 },
    ])
  })
})

describe('portico images', () => {
  it('prints the names', async () => {
    expect(await run('images')).toEqual({ code: 0, stdout: 'node\npython\n', stderr: '' })
    expect((await run('images', '--json')).stdout).toBe('["node","python"]\n')
  })
})

describe('an error', () => {
  it('of the platform is its line and its hint', async () => {
    const ended = await cli(['list'], { ...wire.environment, PORTICO_API_KEY: 'wrong' })
    expect(ended).toEqual({
      code: 125,
      stdout: '',
      stderr:
        'portico: cannot use the API: the key is not known\nhint: Send Authorization: Bearer <key> with a key of this platform.\n',
    })
  })

  it('inside the platform names the request', async () => {
    wire.fail('GET /v1/runs', 'internal')
    expect((await run('list')).stderr).toMatch(
      /^portico: cannot do it: internal\nhint: Report the request id\. \(req\w+\)\n$/,
    )
  })

  it('of an answer that makes no sense has no stack either', async () => {
    wire.intercept('GET /v1/runs', (_seen, response) => response.end('<html>'))
    const { code, stderr } = await run('list')
    expect(code).toBe(125)
    expect(stderr).toMatch(/^portico: cannot list the sandboxes: [^\n]*not JSON\nhint: [^\n]*\n$/)
  })
})

describe('the command line', () => {
  it('prints help and version on standard output', async () => {
    const help = await run('--help')
    expect(help).toMatchObject({ code: 0, stderr: '' })
    expect(help.stdout).toMatch(/^Usage: portico /)
    expect(help.stdout.split('\n').every((line) => line.length <= 80)).toBe(true)
    const first = ['run', 'create', 'exec', 'list', 'stop', 'images', 'up', 'doctor']
    const saved = ['fork', 'snapshot', 'restore', 'snapshots', 'hibernate', 'resume']
    const account = ['set', 'usage', 'history', 'audit', 'webhooks', 'admin', 'runners', 'config', 'iii']
    const streams = ['shell', 'console', 'ps', 'output', 'attach', 'kill', 'ports', 'url']
    for (const name of [...first, ...saved, ...account, ...streams])
      expect(help.stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
    expect(await run('--version')).toEqual({ code: 0, stdout: '0.1.0\n', stderr: '' })
    expect((await run('run', '--help')).stdout).toMatch(/^Usage: portico run \[options\] IMAGE -- CMD…\n/)
  })

  it('without a command prints help on standard error and ends with 125', async () => {
    const ended = await run()
    expect(ended).toMatchObject({ code: 125, stdout: '' })
    expect(ended.stderr).toMatch(/^Usage: portico /)
  })

  it('with a command that is misspelt says which was meant', async () => {
    expect(await run('lst')).toEqual({
      code: 125,
      stdout: '',
      stderr: "portico: cannot read the command line: unknown command 'lst'\nhint: Did you mean one of list, ls?\n",
    })
  })
})
