import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { connectSocket, connectWhenReady } from './socket.ts'

let folder: string
let server: Server

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-socket-'))
  server = createServer((socket) => socket.end('hello'))
})
afterEach(async () => {
  if (server.listening) await new Promise((closed) => server.close(closed))
  await rm(folder, { recursive: true })
})

function listen(path: string): Promise<void> {
  return new Promise((resolve) => server.listen(path, () => resolve()))
}

async function greetingOf(path: string): Promise<string> {
  const socket = await connectSocket(path)
  let text = ''
  for await (const bytes of socket) text += String(bytes)
  return text
}

it('connects', async () => {
  await listen(join(folder, 'qmp'))
  expect(await greetingOf(join(folder, 'qmp'))).toBe('hello')
})

it('connects where the path is longer than a socket address', async () => {
  const deep = join(folder, ...new Array<string>(6).fill('x'.repeat(40)))
  await mkdir(deep, { recursive: true })
  process.chdir(deep)
  await listen('qmp')
  process.chdir('/')
  expect(join(deep, 'qmp').length).toBeGreaterThan(200)
  expect(await greetingOf(join(deep, 'qmp'))).toBe('hello')
})

it('does not follow a link that took the place of the socket', async () => {
  await listen(join(folder, 'other'))
  await symlink(join(folder, 'other'), join(folder, 'qmp'))
  await expect(connectSocket(join(folder, 'qmp'))).rejects.toThrow()
})

it('does not take a file for a socket', async () => {
  await writeFile(join(folder, 'qmp'), '')
  await expect(connectSocket(join(folder, 'qmp'))).rejects.toMatchObject({ code: 'internal' })
})

it('waits until somebody listens', async () => {
  const connecting = connectWhenReady(join(folder, 'qmp'), AbortSignal.timeout(5000))
  await listen(join(folder, 'qmp'))
  const socket = await connecting
  socket.destroy()
})

it('stops waiting when it is told to', async () => {
  const reason = new Error('enough')
  const controller = new AbortController()
  const connecting = connectWhenReady(join(folder, 'qmp'), controller.signal)
  controller.abort(reason)
  await expect(connecting).rejects.toBe(reason)
})
