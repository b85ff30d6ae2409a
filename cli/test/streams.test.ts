/** Commands whose output comes as it goes, terminals, consoles and ports, against a platform in the test's own process. */

import { readFile } from 'node:fs/promises'
import { WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli, direct, Running } from './process.ts'

let wire: WireServer
let id: string

beforeEach(async () => {
  wire = await WireServer.open()
  const body = JSON.stringify({ image: 'python' })
  const headers = { authorization: `Bearer ${wire.apiKey}`, 'content-type': 'application/json' }
  const made = await fetch(`${wire.url}/v1/runs`, { method: 'POST', headers, body })
  id = ((await made.json()) as { id: string }).id
})

afterEach(async () => {
  await wire.close()
})

const run = (...args: string[]) => cli(args, wire.environment)
const start = (...args: string[]) => new Running([...direct, ...args], wire.environment)

/** Runs lines of a shell at a terminal. */
function atTerminal(...args: string[]): Running {
  const quoted = [...direct, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  const line = `stty cols 100 rows 30; ${quoted}; echo "code $?"; stty -a`
  return new Running(['script', '-qec', line, '/dev/null'], { ...wire.environment, SHELL: '/bin/sh' })
}

/** Sends a signal to the CLI below a shell at a terminal. */
async function signalChild(running: Running, signal: NodeJS.Signals): Promise<void> {
  const children = async (pid: number) =>
    (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').map(Number)
  const [shell = 0] = await children(running.child.pid ?? 0)
  const [program = 0] = await children(shell)
  process.kill(program, signal)
}

/** What `stty -a` says of a terminal as it was before. */
const cooked = /code (\d+)\r\n[\s\S]*\sisig icanon iexten echo\s/

describe('portico exec', () => {
  it('prints what comes when it comes, byte for byte, and ends as the command does', async () => {
    wire.processes.script = () => undefined
    const running = start('exec', id, '--', 'x')
    await wire.arrival('GET /v1/runs/*/output')
    const guest = wire.processes.only
    guest.print('stdout', 'first\n')
    await running.printed('first\n')
    guest.print('stderr', 'oops\n')
    guest.print('stdout', '\u0000\u001b[1m日本')
    guest.exit(9)
    expect(await running.ended()).toEqual({ code: 9, stdout: 'first\n\u0000\u001b[1m日本', stderr: 'oops\n' })
    expect(wire.processes.all.size).toBe(0)
  })

  it('passes standard input on while it comes, and its end', async () => {
    const running = start('exec', id, '-i', '--', 'cat')
    running.child.stdin.write('one ')
    await running.printed('one ')
    running.child.stdin.end('two')
    expect(await running.ended()).toEqual({ code: 0, stdout: 'one two', stderr: '' })
  })

  it('passes the first Ctrl-C on, and ends as the command does', async () => {
    const running = start('exec', id, '--', 'hang')
    await wire.arrival('GET /v1/runs/*/output')
    running.kill('SIGINT')
    expect(await running.ended()).toEqual({ code: 130, stdout: '', stderr: '' })
    expect(wire.sandboxes.has(id)).toBe(true)
  })

  it('ends a command that takes no notice with the second Ctrl-C, and leaves', async () => {
    const running = start('exec', id, '--', 'stubborn')
    await wire.arrival('GET /v1/runs/*/output')
    const guest = wire.processes.only
    running.kill('SIGINT')
    await guest.until(() => guest.signals.length === 1)
    const again = setInterval(() => running.kill('SIGINT'), 200)
    expect((await running.ended()).code).toBe(130)
    clearInterval(again)
    expect(guest.signals).toEqual(['SIGINT', 'SIGKILL'])
  })

  it('lets a command run on by itself, which is listed, read, written to and ended', async () => {
    const { stdout } = await run('exec', id, '--detach', '--user', 'nobody', '--', 'cat')
    const guest = wire.processes.only
    expect(stdout).toBe(`${guest.id}\n`)
    expect(guest.request).toMatchObject({ command: ['cat'], user: 'nobody' })
    expect(guest.request.timeout).toBe(undefined)
    expect((await run('ps', id)).stdout).toMatch(new RegExp(`^PROCESS .*\n${guest.id} +100 +running +- .* cat\n$`))
    const attached = await cli(['attach', id, guest.id, '-i'], wire.environment, 'hello')
    expect(attached).toEqual({ code: 0, stdout: 'hello', stderr: '' })
    expect((await run('output', id, guest.id, '--from', '2')).stdout).toBe('llo')
    expect(await run('kill', id, guest.id)).toMatchObject({ code: 0, stdout: `${guest.id}\n` })
    expect(wire.processes.all.size).toBe(0)
  })
})

describe('a terminal in a sandbox', () => {
  it('gets every key and the size, gives its exit code, and leaves ours as it was', async () => {
    const options = ['-e', 'SECRET=hush', '--cwd', '/srv', '--user', 'nobody']
    const running = atTerminal('exec', '-t', ...options, id, '--', 'top', '-d 1')
    const socket = await wire.sockets.next()
    expect(JSON.parse(wire.requests.findLast(({ path }) => path.endsWith('/consoles'))?.body.toString() ?? '')).toEqual(
      {
        command: ['top', '-d 1'],
        env: { SECRET: 'hush' },
        cwd: '/srv',
        user: 'nobody',
        cols: 100,
        rows: 30,
      },
    )
    expect(socket.path).toBe(`/v1/runs/${id}/consoles/con0/attach`)
    socket.say({ type: 'joined', console: 'con0', access: 'write', cols: 100, rows: 30, offset: 0 })
    socket.print('screen')
    await running.printed('screen')
    running.child.stdin.write('\u0003')
    await socket.heard((message) => typeof message !== 'string' && message.includes('\u0003'))
    socket.say({ type: 'exit', exit_code: 3 })
    const { stdout } = await running.ended()
    expect(cooked.exec(stdout)?.[1]).toBe('3')
    expect(wire.consoles.all.size).toBe(0)
  })

  it('runs on as a console when it is left, and goes with a signal', async () => {
    const left = atTerminal('exec', '-t', id, '--', 'top')
    const first = await wire.sockets.next()
    first.say({ type: 'joined', console: 'con0', access: 'write', cols: 100, rows: 30, offset: 0 })
    first.print('screen')
    await left.printed('screen')
    left.child.stdin.write('\u001d')
    const { stdout } = await left.ended()
    expect(stdout).toContain(`left console con0\r\nhint: portico console ${id} con0 joins it again\r\n`)
    expect(cooked.exec(stdout)?.[1]).toBe('0')
    expect([...wire.consoles.all.keys()]).toEqual(['con0'])
    const ended = atTerminal('exec', '-t', id, '--', 'pid')
    const second = await wire.sockets.next()
    second.say({ type: 'joined', console: 'con1', access: 'write', cols: 100, rows: 30, offset: 0 })
    second.print('screen')
    await ended.printed('screen')
    await signalChild(ended, 'SIGTERM')
    expect(cooked.exec((await ended.ended()).stdout)?.[1]).toBe('143')
    expect([...wire.consoles.all.keys()]).toEqual(['con0'])
  })

  it('is left by Ctrl-], and ours is as it was', async () => {
    const running = atTerminal('shell', id)
    const socket = await wire.sockets.next()
    socket.say({ type: 'session', id: 'ses1', offset: 0 })
    socket.print('prompt')
    await running.printed('prompt')
    running.child.stdin.write('last\u001d')
    expect(await socket.heard((message) => typeof message !== 'string')).toEqual(Buffer.from('last'))
    expect(cooked.exec((await running.ended()).stdout)?.[1]).toBe('0')
  })

  it('is refused where there is none, before anything is started', async () => {
    expect(await run('exec', '-t', id, '--', 'top')).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/^portico: cannot use the terminal: there is none\n/),
    })
    expect(await run('exec', '-t', '--timeout', '5s', id, '--', 'top')).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/^portico: cannot limit the time of a command on a terminal\nhint: /),
    })
    expect(wire.consoles.all.size).toBe(0)
  })
})

describe('portico shell', () => {
  it('reads its lines from standard input where there is no terminal', async () => {
    wire.processes.script = async (guest) => {
      await guest.until(() => !guest.isStdinOpen)
      guest.print('stdout', guest.stdin)
      guest.exit(4)
    }
    expect(await cli(['shell', id], wire.environment, 'ls\n')).toEqual({ code: 4, stdout: 'ls\n', stderr: '' })
  })
})

describe('portico console', () => {
  it('makes one where none runs, and leaves it there', async () => {
    const running = atTerminal('console', id, '--name', 'build')
    const socket = await wire.sockets.next()
    const [made] = wire.consoles.all.values()
    expect(made).toMatchObject({ run: id, name: 'build' })
    expect(socket.path).toBe(`/v1/runs/${id}/consoles/${made?.id}/attach`)
    socket.say({ type: 'joined', console: 'con0', access: 'write', cols: 80, rows: 24, offset: 0 })
    socket.print('scrollback')
    await running.printed('scrollback')
    running.child.stdin.write('\u001d')
    expect(cooked.exec((await running.ended()).stdout)?.[1]).toBe('0')
    expect((await run('console', id, '--list')).stdout).toMatch(/^CONSOLE .*\ncon0 +build +running +100x30 /)
    expect((await run('console', id, '--link', 'read')).stdout).toBe(`http://api.test/console/#/c/${id}/con0?token=T\n`)
  })
})

describe('ports', () => {
  it('are listed and set, and their URLs are one line', async () => {
    wire.ports.listening.set(8000, { address: '127.0.0.1', pid: 7, command: 'python3' })
    expect((await run('ports', id)).stdout).toMatch(/^PORT .*\n8000 +url +127\.0\.0\.1 +python3 +http:.*\n$/)
    expect(JSON.parse((await run('ports', id, '8000', '--access', 'signed', '--json')).stdout)).toMatchObject({
      port: 8000,
      access: 'signed',
    })
    expect((await run('url', id, '8000', '--path', 'a')).stdout).toBe(`${wire.url}/v1/runs/${id}/proxy/8000/a\n`)
    expect((await run('url', id, '8000', '--link', '1h')).stdout).toMatch(/^http:\S+portico_signature=x\n$/)
    expect(await run('url', id, '0')).toMatchObject({ code: 125, stderr: expect.stringMatching(/1 to 65535/) })
  })
})
