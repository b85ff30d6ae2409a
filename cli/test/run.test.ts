import { execAnswer } from '@portico/sdk/test-guest'
import { sendJson, WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli, direct, type Ended, Running } from './process.ts'

let wire: WireServer

beforeEach(async () => {
  wire = await WireServer.open()
})

afterEach(async () => {
  await wire.close()
})

async function run(args: readonly string[], input?: string | Buffer): Promise<Ended> {
  return await cli(['run', ...args], wire.environment, input)
}

function bodyOf(route: string): unknown {
  const seen = wire.requests.find(
    ({ method, path }) => route === `${method} ${path.replace(/\/run[a-z2-7]{26}/, '/ID')}`,
  )
  return JSON.parse(seen?.body.toString() ?? 'null')
}

describe('portico run', () => {
  it('prints what the command printed, ends with its exit code and leaves no sandbox', async () => {
    expect(await run(['python', '--', 'echo', 'hi', 'there'])).toEqual({ code: 0, stdout: 'hi there\n', stderr: '' })
    expect(await run(['python', '--', 'complain', 'ouch'])).toEqual({ code: 1, stdout: '', stderr: 'ouch\n' })
    expect(wire.count('POST /v1/runs')).toBe(2)
    expect(wire.count('DELETE /v1/runs/*')).toBe(2)
    expect(wire.sandboxes.size).toBe(0)
  })

  it.each([3, 126, 137, 255])('ends with the exit code %d of the command', async (code) => {
    expect(await run(['python', '--', 'exit', String(code)])).toEqual({ code, stdout: '', stderr: '' })
  })

  it('says what the guest says of a program that is not there', async () => {
    const stderr = 'exec: no-such: not found\n'
    expect(await run(['python', '--', 'no-such'])).toEqual({ code: 127, stdout: '', stderr })
  })

  it('passes output on as it is: no newline added, none lost, any character', async () => {
    wire.exec = () => execAnswer({ stdout: '\u001b[1mgrüß\u0000dich\r\n\n日本', stderr: 'no newline' })
    expect(await run(['python', '--', 'x'])).toEqual({
      code: 0,
      stdout: '\u001b[1mgrüß\u0000dich\r\n\n日本',
      stderr: 'no newline',
    })
  })

  it('passes 20 MB of output on whole', async () => {
    const stdout = '0123456789abcde\n'.repeat(2 ** 16 * 10)
    wire.exec = () => execAnswer({ stdout, stderr: stdout })
    const ended = await run(['python', '--', 'x'])
    expect(ended.stdout === stdout).toBe(true)
    expect(ended.stderr === stdout).toBe(true)
  })

  it('ends with 124 after the timeout, says so, and keeps what was printed until then', async () => {
    expect(await run(['python', '--timeout', '2s', '--', 'slow'])).toEqual({
      code: 124,
      stdout: 'so far\n',
      stderr: 'portico: the command was ended after 2s\nhint: Give it longer with --timeout.\n',
    })
    expect(wire.sandboxes.size).toBe(0)
  })

  it('gives words after -- to no shell, options of the command included', async () => {
    await run(['python', '--', 'echo', '$HOME', '-e', '--json', 'a b'])
    expect(bodyOf('POST /v1/runs/ID/processes')).toMatchObject({ command: ['echo', '$HOME', '-e', '--json', 'a b'] })
    expect(await run(['python', '--', 'echo hi'])).toMatchObject({ code: 127, stderr: 'exec: echo hi: not found\n' })
  })

  it('gives a --shell line to the shell', async () => {
    await run(['python', '--shell', 'echo $HOME | wc'])
    expect(bodyOf('POST /v1/runs/ID/processes')).toMatchObject({ command: 'echo $HOME | wc' })
  })

  it.each([
    [[], {}],
    [['--', '--port', '80'], { args: ['--port', '80'] }],
  ])('runs what the image runs by itself, with its own arguments or those after --: %j', async (words, args) => {
    await run(['python', '--entrypoint', ...words])
    expect(bodyOf('POST /v1/runs/ID/processes')).toMatchObject({ entrypoint: true, ...args })
  })

  it('passes its options on', async () => {
    const sandbox = ['--cpus', '2', '--memory', '512M', '--disk', '2G', '--idle', '10m']
    const command = ['-e', 'A=1', '--env', 'B=x=y', '-e', 'TERM', '--cwd', '/app', '--timeout', '1m30s']
    await run([...sandbox, 'python', ...command, '--', 'pwd'])
    expect(bodyOf('POST /v1/runs')).toEqual({ image: 'python', vcpus: 2, mem_mib: 512, disk_mib: 2048, timeout: 600 })
    expect(bodyOf('POST /v1/runs/ID/processes')).toEqual({
      command: ['pwd'],
      timeout: 90,
      buffer_bytes: 16 * 2 ** 20,
      env: { A: '1', B: 'x=y', TERM: 'xterm' },
      cwd: '/app',
    })
  })

  it('prints what comes when it comes, and passes standard input on with -i while it comes', async () => {
    const running = new Running([...direct, 'run', 'python', '-i', '--', 'cat'], wire.environment)
    running.child.stdin.write('grüß\n')
    await running.printed('grüß\n')
    expect(wire.sandboxes.size).toBe(1)
    running.child.stdin.end('dich')
    expect(await running.ended()).toEqual({ code: 0, stdout: 'grüß\ndich', stderr: '' })
    expect(wire.sandboxes.size).toBe(0)
  })

  it('does not touch standard input without -i', async () => {
    expect(await run(['python', '--', 'cat'], 'unread')).toMatchObject({ code: 0, stdout: '' })
  })

  it('passes more on standard input than a request holds, and bytes that are no text', async () => {
    const input = Buffer.alloc(3 * 2 ** 20, Buffer.from([0xff, 0xfe, 0x00]))
    let got = Buffer.alloc(0)
    wire.processes.script = async (guest) => {
      await guest.until(() => !guest.isStdinOpen)
      got = guest.stdin
      guest.exit(0)
    }
    expect(await run(['python', '-i', '--', 'x'], input)).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(got.equals(input)).toBe(true)
  })

  it.each([
    ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x00]), /not UTF-8/],
    ['more than fits', 'x'.repeat(1_000_001), /longer than 1 MB/],
  ])('refuses %s on standard input with --json before it creates anything', async (_what, input, message) => {
    const ended = await run(['python', '-i', '--json', '--', 'cat'], input)
    expect(ended).toMatchObject({ code: 125, stdout: '', stderr: expect.stringMatching(message) })
    expect(wire.requests).toEqual([])
  })

  it('prints one line of JSON with --json, and still ends with the exit code of the command', async () => {
    const { code, stdout, stderr } = await run(['python', '--json', '--', 'complain', 'ouch'])
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
    expect(stdout.split('\n').length).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({
      sandbox: { id: expect.stringMatching(/^run/), image: 'python' },
      exitCode: 1,
      stdout: '',
      stderr: 'ouch\n',
      timedOut: false,
      durationMs: 3,
      usage: { uptimeMs: 1500, costCents: 0.0016 },
    })
  })
})

describe('portico run when something goes wrong', () => {
  it('destroys the sandbox when the command cannot be run', async () => {
    wire.fail('POST /v1/runs/*', 'runner_disconnected')
    const ended = await run(['python', '--', 'x'])
    expect(ended).toMatchObject({ code: 125, stdout: '' })
    expect(ended.stderr).toMatch(/^portico: cannot do it: runner_disconnected\nhint: The sandbox still exists; .*\n$/)
    expect(wire.count('DELETE /v1/runs/*')).toBe(1)
  })

  it('ends with 125 when no sandbox can be made', async () => {
    expect(await run(['no-such:1', '--', 'x'])).toEqual({
      code: 125,
      stdout: '',
      stderr: expect.stringMatching(/^portico: cannot create a sandbox: no image no-such:1\nhint: Use an image .*\n$/),
    })
  })

  it('tells a sandbox that it could not destroy, and keeps the exit code of the command', async () => {
    wire.fail('DELETE /v1/runs/*', 'internal')
    const ended = await run(['python', '--', 'exit', '3'])
    expect(ended).toMatchObject({ code: 3, stdout: '' })
    expect(ended.stderr).toMatch(/cannot do it: internal\n[\s\S]*portico stop run[a-z2-7]{26}\n$/)
  })

  it('does not mind that the sandbox is gone already', async () => {
    wire.fail('DELETE /v1/runs/*', 'sandbox_not_found')
    expect(await run(['python', '--', 'echo', '1'])).toEqual({ code: 0, stdout: '1\n', stderr: '' })
  })

  it.each([
    [['python'], /no command is given/],
    [['python', '--shell', 'a', '--', 'b'], /both --shell and CMD/],
    [['python', '--shell', 'a', '--entrypoint'], /both --shell and --entrypoint/],
    [[], /missing required argument 'image'/],
    [['python', '--timeout', 'soon', '--', 'x'], /looks like 30s/],
    [['python', '--memory', '1.2.3', '--', 'x'], /looks like 512M/],
    [['python', '-e', 'NOT_SET_HERE', '--', 'x'], /NOT_SET_HERE is not set/],
    [['python', '--colour', '--', 'x'], /unknown option '--colour'/],
  ])('refuses the command line %j before it asks anything', async (args, message) => {
    const ended = await run(args)
    expect(ended).toMatchObject({ code: 125, stdout: '', stderr: expect.stringMatching(message) })
    expect(ended.stderr).toMatch(/^portico: cannot .*\nhint: .*\n$/)
    expect(wire.requests).toEqual([])
  })

  it('goes on quietly to its end when nobody reads its output', async () => {
    wire.exec = () => execAnswer({ stdout: 'x'.repeat(2 ** 20), exit_code: 5 })
    const quoted = direct.map((word) => `'${word}'`).join(' ')
    const script = `set -o pipefail; ${quoted} run python -- x | true`
    const shell = new Running(['bash', '--norc', '-c', script], wire.environment)
    expect(await shell.ended()).toEqual({ code: 5, stdout: '', stderr: '' })
    expect(wire.sandboxes.size).toBe(0)
  })
})

describe('output that cannot be written', () => {
  it('is told in one line, and the sandbox is destroyed', async () => {
    const command = `exec ${direct.map((word) => `'${word}'`).join(' ')} run python -- echo hi >/dev/full`
    const ended = await new Running(['sh', '-c', command], wire.environment).ended()
    expect(ended).toMatchObject({ code: 125, stdout: '' })
    expect(ended.stderr).toMatch(/^portico: cannot write the output: ENOSPC[^\n]*\n$/)
    expect(wire.sandboxes.size).toBe(0)
  })
})

describe('portico run when it is interrupted', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('by %s ends the command, destroys the sandbox and ends with %d', async (signal, code) => {
    const arrived = wire.arrival('GET /v1/runs/*/output')
    const running = new Running([...direct, 'run', 'python', '--', 'hang'], wire.environment)
    await arrived
    running.kill(signal)
    expect(await running.ended()).toEqual({ code, stdout: '', stderr: '' })
    expect(wire.processes.only.signals).toEqual(signal === 'SIGINT' ? ['SIGINT'] : [])
    expect(wire.count('DELETE /v1/runs/*')).toBe(1)
    expect(wire.sandboxes.size).toBe(0)
  })

  it('by Ctrl-C gives the command the time to clean up, and ends as it does', async () => {
    wire.processes.script = async (guest) => {
      await guest.until(() => guest.signals.length > 0)
      guest.print('stdout', 'saved\n')
      guest.exit(6)
    }
    const arrived = wire.arrival('GET /v1/runs/*/output')
    const running = new Running([...direct, 'run', 'python', '--', 'x'], wire.environment)
    await arrived
    running.kill('SIGINT')
    expect(await running.ended()).toEqual({ code: 6, stdout: 'saved\n', stderr: '' })
    expect(wire.sandboxes.size).toBe(0)
  })

  it('twice leaves a command that takes no notice, and destroys the sandbox', async () => {
    const arrived = wire.arrival('GET /v1/runs/*/output')
    const running = new Running([...direct, 'run', 'python', '--', 'stubborn'], wire.environment)
    await arrived
    const guest = wire.processes.only
    running.kill('SIGINT')
    await guest.until(() => guest.signals.length === 1)
    const again = setInterval(() => running.kill('SIGINT'), 200)
    await wire.arrival('DELETE /v1/runs/*')
    clearInterval(again)
    expect((await running.ended()).code).toBe(130)
    expect(guest.signals[0]).toBe('SIGINT')
    expect(wire.sandboxes.size).toBe(0)
  })

  it('while it waits for standard input creates nothing', async () => {
    const running = new Running([...direct, 'run', 'python', '-i', '--json', '--', 'cat'], wire.environment)
    running.child.stdin.write('the beginning')
    await reads(running)
    running.kill('SIGINT')
    expect(await running.ended()).toEqual({ code: 130, stdout: '', stderr: '' })
    expect(wire.requests).toEqual([])
  })

  it('twice gives up at once', async () => {
    const arrived = wire.arrival('DELETE /v1/runs/*')
    wire.intercept('DELETE /v1/runs/*', (seen) => seen.abandoned)
    const running = new Running([...direct, 'run', 'python', '--', 'echo', '1'], wire.environment)
    const seen = await arrived
    running.kill('SIGINT')
    const again = setInterval(() => running.kill('SIGINT'), 100)
    await seen.abandoned
    clearInterval(again)
    expect(await running.ended()).toMatchObject({ code: 130 })
  })

  it('takes signals of one moment for one, as a terminal and the wrapper both send it', async () => {
    const arrived = wire.arrival('GET /v1/runs/*/output')
    wire.intercept('DELETE /v1/runs/*', async (_seen, response) => {
      running.kill('SIGINT')
      sendJson(response, 404, { error: 'gone', code: 'sandbox_not_found', retryable: false, request_id: 'req1' })
    })
    const running = new Running([...direct, 'run', 'python', '--', 'hang'], wire.environment)
    await arrived
    running.kill('SIGINT')
    expect(await running.ended()).toMatchObject({ code: 130 })
    expect(wire.count('DELETE /v1/runs/*')).toBe(1)
  })
})

/** Resolves once the process has taken what was written to its standard input. */
async function reads(running: Running): Promise<void> {
  const big = Buffer.alloc(900_000, 'x')
  await new Promise<void>((resolve) => running.child.stdin.write(big, () => resolve()))
}
