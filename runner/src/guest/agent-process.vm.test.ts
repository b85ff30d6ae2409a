/** The real agent as a process of this host, on a socket: suspension and resumption as it sees them. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { type AddressInfo, createServer, connect as dial } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { askHealth, giveIdentity } from './agent.ts'
import { GuestChannel } from './channel.ts'
import type { GuestResponse } from './http.ts'
import { GuestLink } from './link.ts'

const signal = AbortSignal.timeout(60_000)
const cache = fileURLToPath(new URL('../../../.portico/cache/', import.meta.url))
let folder = ''
let agent: ChildProcess | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-agent-'))
  const names = (await readdir(cache)).filter((name) => name.startsWith('agent-'))
  const ages = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(cache, name))).mtimeMs })))
  const newest = ages.sort((one, other) => other.at - one.at)[0]
  if (!newest) throw new Error('cannot find the agent: run the set-up first')
  agent = spawn(join(cache, newest.name, 'agent'), ['-serve', `unix:${socket()}`], { stdio: 'ignore' })
  await vi.waitFor(() => stat(socket()), { timeout: 5000 })
})

afterAll(async () => {
  agent?.kill('SIGTERM')
  await rm(folder, { recursive: true, force: true })
})

const socket = () => join(folder, 'agent')

async function connect(): Promise<Duplex> {
  const link = dial(socket())
  link.on('error', () => undefined)
  await new Promise<void>((resolve) => void link.once('connect', () => resolve()))
  return link
}

async function open(): Promise<GuestLink> {
  const first = await GuestChannel.open(await connect(), { signal, again: false })
  const onLost = (error: AppError) => expect.unreachable(error.message)
  const link = new GuestLink({ connect, first, clock: systemClock, onLost })
  await giveIdentity(link, { sandbox: 'runabcdefghijklmnopqrstuvwxyz', env: {} }, systemClock, signal)
  return link
}

async function bytesOf({ body }: GuestResponse): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const bytes of body) parts.push(bytes)
  return Buffer.concat(parts)
}

function shell(link: GuestLink, text: string): Promise<GuestResponse> {
  return link.request({ method: 'POST', path: '/exec', body: Buffer.from(JSON.stringify({ shell: text })), signal })
}

const stdoutOf = async (response: GuestResponse) => JSON.parse((await bytesOf(response)).toString()).stdout

it('opens at once in any state of the agent', async () => {
  for (let round = 0; round < 20; round++) {
    const channel = await GuestChannel.open(await connect(), { signal, again: 'now' })
    expect((await askHealth(channel, signal)).generation).toBe(1)
    channel.close()
  }
})

it('finishes a command that ran while the session stood still', async () => {
  const link = await open()
  const asked = shell(link, 'sleep 0.3; seq 100000 | tail -c 300000')
  await askHealth(link, signal)
  await link.suspend(signal)
  await new Promise((resume) => setTimeout(resume, 500))
  await link.resume(connect, await connect(), signal)
  const stdout = await stdoutOf(await asked)
  expect([stdout.length, stdout.slice(-7)]).toEqual([300_000, '100000\n'])
  link.close(new AppError('cancelled', 'cannot go on: over'))
})

it('carries bodies both ways through many suspensions, unchanged', { timeout: 30_000 }, async () => {
  const link = await open()
  const content = randomBytes(8 * 2 ** 20)
  const path = `/files?path=${encodeURIComponent(join(folder, 'content'))}`
  async function* pieces() {
    for (let at = 0; at < content.length; at += 100_000) yield content.subarray(at, at + 100_000)
  }
  let over = false
  const transfer = (async () => {
    const headers = { 'content-length': String(content.length) }
    expect((await link.request({ method: 'PUT', path, headers, body: pieces(), signal })).status).toBe(200)
    return await bytesOf(await link.request({ method: 'GET', path, signal }))
  })().finally(() => (over = true))
  let rounds = 0
  for (; !over; rounds++) {
    await new Promise((turn) => setTimeout(turn, Math.random() * 10))
    await link.suspend(signal)
    await link.resume(connect, await connect(), signal)
  }
  expect((await transfer).equals(content)).toBe(true)
  expect(rounds).toBeGreaterThan(3)
  link.close(new AppError('cancelled', 'cannot go on: over'))
})

it('runs a command to its end though its channel was lost', async () => {
  const link = await open()
  const file = join(folder, 'done')
  const asked = shell(link, `sleep 0.3; touch ${file}`)
  asked.catch(() => undefined)
  await askHealth(link, signal)
  link.close(new AppError('guest_disconnected', 'cannot go on: lost'))
  await expect(asked).rejects.toMatchObject({ code: 'guest_disconnected' })
  await expect.poll(async () => await stat(file).catch(() => undefined), { timeout: 5000 }).toBeDefined()
})

it("carries a port's connection through many suspensions, unchanged, each direction to its end", {
  timeout: 30_000,
}, async () => {
  const echo = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket))
  await new Promise<void>((listening) => void echo.listen(0, '127.0.0.1', listening))
  const link = await open()
  const content = randomBytes(8 * 2 ** 20)
  const duplex = await link.connect((echo.address() as AddressInfo).port, signal)
  let over = false
  const transfer = (async () => {
    duplex.end(content)
    const parts: Buffer[] = []
    for await (const part of duplex) parts.push(part as Buffer)
    return Buffer.concat(parts)
  })().finally(() => (over = true))
  for (let rounds = 0; !over; rounds++) {
    await link.suspend(signal)
    await link.resume(connect, await connect(), signal)
    await new Promise((turn) => setTimeout(turn, rounds))
  }
  expect((await transfer).equals(content)).toBe(true)
  const closed = (echo.address() as AddressInfo).port
  await new Promise((done) => echo.close(done))
  await expect(link.connect(closed, signal)).rejects.toMatchObject({ code: 'port_closed' })
  link.close(new AppError('cancelled', 'cannot go on: over'))
})
