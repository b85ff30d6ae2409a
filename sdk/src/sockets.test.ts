import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { WebSocket as Package } from 'ws'
import { WireServer } from '../test/wire-server.ts'
import type { WireSocket } from '../test/wire-sockets.ts'
import { type ConsoleView, Portico, type Sandbox, type Shell, type Terminal, type TerminalOptions } from './index.ts'

let wire: WireServer
let portico: Portico
let sandbox: Sandbox

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  sandbox = await portico.create({ image: 'python' })
})

afterEach(async () => {
  vi.unstubAllGlobals()
  await portico.close()
  await wire.close()
})

/** A terminal whose socket says that its bytes begin at 0. */
async function open(options: TerminalOptions = {}): Promise<[Terminal, WireSocket]> {
  const opening = sandbox.terminal(options)
  const socket = await wire.sockets.next()
  socket.say({ type: 'session', id: 'ses1', offset: 0 })
  return [await opening, socket]
}

async function text(items: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const bytes of items) parts.push(bytes)
  return Buffer.concat(parts).toString()
}

const isResize = (message: string | Buffer) => String(message).includes('resize')

describe('a terminal', () => {
  it('is asked for with the key and what was told, and passes bytes both ways', async () => {
    const [terminal, socket] = await open({ cols: 90, rows: 20, command: 'top', user: 'nobody', lingerSec: 5 })
    expect(socket.path).toBe(`/v1/runs/${sandbox.id}/terminal`)
    expect(Object.fromEntries(socket.query)).toEqual({
      cols: '90',
      rows: '20',
      command: 'top',
      user: 'nobody',
      linger: '5',
      token: wire.apiKey,
    })
    expect(terminal.session).toBe('ses1')
    await terminal.write('ö')
    await terminal.resize(100, 30)
    expect(await socket.heard((message) => typeof message !== 'string')).toEqual(Buffer.from('ö'))
    expect(await socket.heard(isResize)).toBe('{"type":"resize","cols":100,"rows":30}')
    socket.print('one ')
    socket.print('two')
    socket.say({ type: 'exit', exit_code: 3 })
    expect(await text(terminal)).toBe('one two')
    expect(await terminal.wait()).toEqual({ exitCode: 3, signal: undefined })
  })

  it('is attached to again after a cut, at its offset, with its last size; what is typed meanwhile arrives', async () => {
    const lost: number[] = []
    const [terminal, first] = await open({ onGap: (bytes) => lost.push(bytes) })
    const reading = text(terminal)
    first.print('12345')
    first.say({ type: 'gap', bytes: 10 })
    await terminal.resize(100, 30)
    await first.heard(isResize)
    wire.sockets.refuse = 1
    const refused = wire.arrival('GET /v1/runs/*')
    first.cut()
    await refused
    const typing = terminal.write('typed')
    const second = await wire.sockets.next()
    await typing
    expect(Object.fromEntries(second.query)).toMatchObject({ session: 'ses1', from: '15', cols: '100', rows: '30' })
    second.say({ type: 'session', id: 'ses1', offset: 20 })
    second.say({ type: 'gap', bytes: 5 })
    second.print('67')
    second.close(1011)
    const third = await wire.sockets.next()
    expect(third.query.get('from')).toBe('22')
    third.say({ type: 'session', id: 'ses1', offset: 22 })
    third.print('8')
    third.say({ type: 'exit', exit_code: 0 })
    expect(await reading).toBe('12345678')
    expect(lost).toEqual([10, 5])
    expect(second.received.map(String)).toEqual(['{"type":"ack","bytes":0}', 'typed'])
  })

  it('acknowledges what was consumed, and no more', async () => {
    const [terminal, socket] = await open()
    const reader = terminal[Symbol.asyncIterator]()
    socket.print('x'.repeat(70_000))
    socket.print('y')
    await reader.next()
    await reader.next()
    // The first bounds what is sent ahead.
    await socket.heard((message) => String(message).includes('70000'))
    expect(socket.received).toEqual(['{"type":"ack","bytes":0}', '{"type":"ack","bytes":70000}'])
  })

  it('that nobody reads holds what is within the limit, and comes again for the rest', async () => {
    const [terminal, first] = await open()
    for (let at = 0; at < 5; at++) first.print('x'.repeat(2 ** 20))
    await first.closed
    const reading = text(terminal)
    const second = await wire.sockets.next()
    expect(second.query.get('from')).toBe(String(5 * 2 ** 20))
    second.say({ type: 'session', id: 'ses1', offset: 5 * 2 ** 20 })
    second.say({ type: 'exit', exit_code: 0 })
    expect((await reading).length).toBe(5 * 2 ** 20)
  })

  it('is waited for without being read', async () => {
    const [terminal, socket] = await open()
    socket.print('unread')
    socket.say({ type: 'exit', exit_code: 7 })
    expect(await terminal.wait()).toEqual({ exitCode: 7, signal: undefined })
  })

  it('ends its reader when it is let go, or its signal aborts', async () => {
    const [terminal, socket] = await open()
    const reading = text(terminal)
    terminal.detach()
    expect(await reading).toBe('')
    await socket.closed
    const controller = new AbortController()
    const [other] = await open({ signal: controller.signal })
    const failing = text(other)
    controller.abort(new Error('enough'))
    await expect(failing).rejects.toThrow('enough')
  })

  it('that is refused says why, as a call does', async () => {
    wire.sockets.refuse = 1
    wire.fail('GET /v1/runs/*', 'sandbox_hibernated')
    await expect(sandbox.terminal()).rejects.toMatchObject({ code: 'sandbox_hibernated' })
    wire.sockets.refuse = 1
    wire.fail('GET /v1/runs/*', 'invalid_request')
    await expect(sandbox.terminal()).rejects.toMatchObject({ code: 'unreachable', retryable: true })
  })

  it('that fails for good says why', async () => {
    const [terminal, socket] = await open()
    const reading = text(terminal)
    socket.say({ type: 'error', code: 'sandbox_not_found', error: 'cannot go on: it is destroyed' })
    await expect(reading).rejects.toMatchObject({ code: 'sandbox_not_found' })
    await expect(terminal.wait()).rejects.toMatchObject({ code: 'sandbox_not_found' })
  })

  it('needs a WebSocket: the runtime’s, or one that was handed in', async () => {
    vi.stubGlobal('WebSocket', undefined)
    await expect(sandbox.terminal()).rejects.toMatchObject({
      code: 'unsupported',
      hint: expect.stringContaining('new Portico({ webSocket: WebSocket })'),
    })
    await using other = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey, webSocket: Package })
    const opening = (await other.get(sandbox.id))?.terminal()
    const socket = await wire.sockets.next()
    socket.say({ type: 'session', id: 'ses1', offset: 0 })
    const terminal = await opening
    await terminal?.write('ö')
    expect(await socket.heard((message) => typeof message !== 'string')).toEqual(Buffer.from('ö'))
    terminal?.detach()
  })
})

describe('a shell', () => {
  async function openShell(): Promise<[Shell, WireSocket]> {
    const opening = sandbox.shell({ cwd: '/app' })
    const socket = await wire.sockets.next()
    socket.say({ type: 'session', id: 'ses2', offset: 0 })
    return [await opening, socket]
  }

  async function asked(socket: WireSocket, command: string): Promise<{ id: string; command: string }> {
    return JSON.parse(String(await socket.heard((message) => JSON.parse(String(message)).command === command)))
  }

  it('runs commands, each with its own output and exit code', async () => {
    const [shell, socket] = await openShell()
    expect(socket.query.get('cwd')).toBe('/app')
    const told: string[] = []
    const one = shell.run('one', { onStdout: (part) => told.push(part) })
    const two = shell.run('two')
    const first = await asked(socket, 'one')
    const second = await asked(socket, 'two')
    socket.say({ type: 'stdout', id: first.id, data: 'a' })
    socket.say({ type: 'stderr', id: first.id, data: 'b' })
    socket.say({ type: 'exit', id: first.id, exit_code: 1, duration_ms: 5 })
    socket.say({ type: 'stdout', id: second.id, data: 'c' })
    socket.say({ type: 'exit', id: second.id, exit_code: 0, duration_ms: 6 })
    expect(await one).toEqual({ exitCode: 1, stdout: 'a', stderr: 'b', durationMs: 5, truncated: false })
    expect(await two).toMatchObject({ exitCode: 0, stdout: 'c', stderr: '' })
    expect(told).toEqual(['a'])
  })

  it('interrupts a command whose signal aborts', async () => {
    const [shell, socket] = await openShell()
    const controller = new AbortController()
    const running = shell.run('sleep', { signal: controller.signal })
    await asked(socket, 'sleep')
    controller.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    await socket.heard((message) => message === '{"type":"signal","signal":"SIGINT"}')
  })

  it('sends a command again after a cut, under the same id', async () => {
    const [shell, first] = await openShell()
    const running = shell.run('x')
    const { id } = await asked(first, 'x')
    first.say({ type: 'stdout', id, data: 'ö', offset: 12 })
    first.cut()
    const second = await wire.sockets.next()
    expect(Object.fromEntries(second.query)).toEqual({ session: 'ses2', from: '12', token: wire.apiKey })
    second.say({ type: 'session', id: 'ses2', offset: 12 })
    expect((await asked(second, 'x')).id).toBe(id)
    second.say({ type: 'exit', id, exit_code: 0, duration_ms: 1 })
    expect((await running).exitCode).toBe(0)
  })

  it('refuses one command without ending the others', async () => {
    const [shell, socket] = await openShell()
    const running = shell.run('x')
    const { id } = await asked(socket, 'x')
    socket.say({ type: 'error', id, code: 'overloaded', error: 'cannot run: too many' })
    await expect(running).rejects.toMatchObject({ code: 'overloaded' })
    const next = shell.run('y')
    socket.say({ type: 'exit', id: (await asked(socket, 'y')).id, exit_code: 0, duration_ms: 1 })
    expect((await next).exitCode).toBe(0)
  })

  it('ends with its exit code, and what was under way in it with an error', async () => {
    const [shell, socket] = await openShell()
    const running = shell.run('x')
    await asked(socket, 'x')
    const closing = shell.close()
    await socket.heard((message) => message === '{"type":"close"}')
    socket.say({ type: 'closed', exit_code: 5 })
    expect(await closing).toBe(5)
    await expect(running).rejects.toMatchObject({ code: 'cancelled' })
    await expect(shell.run('late')).rejects.toMatchObject({ code: 'cancelled' })
  })
})

describe('consoles', () => {
  it('are made, listed, shared by links and deleted', async () => {
    const made = await sandbox.consoles.create({ name: 'build', cols: 100, rows: 30 })
    expect(made).toMatchObject({ sandboxId: sandbox.id, name: 'build', cols: 100, rows: 30, state: 'running' })
    expect(await sandbox.consoles.list()).toEqual([made])
    expect(await sandbox.consoles.get(made.id)).toEqual(made)
    expect(await sandbox.consoles.link(made.id, { access: 'write', expiresInSec: 60 })).toEqual({
      url: expect.stringContaining(`/console/#/c/${sandbox.id}/${made.id}?token=T`),
      token: 'T',
      access: 'write',
      expiresAt: new Date('2026-01-01T00:01:00Z'),
    })
    await sandbox.consoles.delete(made.id)
    await expect(sandbox.consoles.get(made.id)).rejects.toMatchObject({ code: 'not_found' })
  })

  it('are looked at: scrollback, then what comes, and again where it stood after a cut', async () => {
    const attaching = sandbox.consoles.attach('con0', { token: 'T', from: 4 })
    const first = await wire.sockets.next()
    expect(Object.fromEntries(first.query)).toEqual({ from: '4', token: 'T' })
    const joined = { type: 'joined', console: 'con0', access: 'write', cols: 80, rows: 24 }
    first.say({ ...joined, offset: 4 })
    const view: ConsoleView = await attaching
    expect(view).toMatchObject({ access: 'write', cols: 80, rows: 24 })
    first.print('old')
    first.say({ type: 'live' })
    first.say({ type: 'viewers', count: 2 })
    const told: unknown[] = []
    for await (const event of view) {
      if (event.type !== 'output') told.push(event.type)
      else told.push(Buffer.from(event.bytes).toString())
      if (event.type === 'viewers' && told.length === 3) {
        first.cut()
        void again()
      }
    }
    expect(told).toEqual(['old', 'live', 'viewers', 'new', 'link', 'exit'])
    expect(view.offset).toBe(10)

    async function again(): Promise<void> {
      const second = await wire.sockets.next()
      expect(second.query.get('from')).toBe('7')
      second.say({ ...joined, offset: 7 })
      second.print('new')
      second.say({ type: 'link', state: 'reconnecting' })
      second.say({ type: 'exit', exit_code: 0 })
    }
  })
})
