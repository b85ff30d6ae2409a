import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SandboxSpec } from '@portico/shared/control'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { giveTemplates, keepTemplates } from '../../tests/kit/templates.ts'
import { type Engine, openEngine, type StateChange } from './engine.ts'
import { statePaths } from './paths.ts'
import { killProcess } from './process/kill.ts'
import { sandboxRecord } from './sandbox/record.ts'
import { assetsFile, type TestFolder, testFolder } from './testing/host.ts'
import { readState } from './vm/state-file.ts'

const signal = new AbortController().signal
const spec: SandboxSpec = {
  image: 'python',
  vcpus: 1,
  mem_mib: 256,
  disk_mib: 512,
  idle_timeout: 0,
  env: { GREETING: 'hello' },
  auto_resume: false,
  on_idle: 'destroy',
}

let folder: TestFolder
let engine: Engine
const changes: StateChange[] = []

async function open(): Promise<Engine> {
  const opened = await openEngine({ stateDir: folder.stateDir, assets: assetsFile, logLevel: 'silent', poolSize: 0 })
  opened.onChange((change) => changes.push(change))
  return opened
}

beforeAll(async () => {
  folder = await testFolder()
  await giveTemplates(folder.stateDir)
  engine = await open()
})
afterAll(async () => {
  await engine?.close()
  await keepTemplates(folder.stateDir)
  await folder?.remove()
})

async function ask(id: string, method: string, path: string, content?: Uint8Array) {
  const response = await engine.request(id, 1, { method, path, body: content, signal })
  const parts: Uint8Array[] = []
  for await (const bytes of response.body) parts.push(bytes)
  return { status: response.status, body: Buffer.concat(parts) }
}

async function exec(id: string, shell: string) {
  const { body } = await ask(id, 'POST', '/exec', Buffer.from(JSON.stringify({ shell })))
  return JSON.parse(body.toString('utf8')) as { exit_code: number; stdout: string; stderr: string }
}

async function crash(id: string): Promise<void> {
  const paths = statePaths(folder.stateDir)
  const record = sandboxRecord.parse(JSON.parse(await readFile(paths.sandbox(id).record, 'utf8')))
  if (record.state !== 'running') throw new Error('it does not run')
  const state = await readState(paths.vm(record.machine.id).state)
  if (state) await killProcess(state.qemu, { limitMs: 5000, signal })
}

describe('a sandbox on a real machine', () => {
  const id = 'runaaaaaaaaaaaaaaaaaaaaaaaaaa'
  beforeAll(() => engine.create(id, 1, spec))
  afterAll(() => engine.destroy(id, 1))

  it('runs a command with the sandbox environment, its host name and the right time', async () => {
    const before = Math.floor(Date.now() / 1000)
    const { exit_code, stdout } = await exec(id, 'echo $GREETING; hostname; date +%s; python3 -c "print(6*7)"')
    const [greeting, hostname, seconds, answer] = stdout.split('\n')
    expect([exit_code, greeting, hostname, answer]).toEqual([0, 'hello', 'runaaaaaaaa', '42'])
    expect(Number(seconds)).toBeGreaterThanOrEqual(before - 1)
    expect(Number(seconds)).toBeLessThanOrEqual(Date.now() / 1000 + 1)
  })

  it('gives a file back as it was written', async () => {
    const content = Buffer.from(await readFile(process.execPath)).subarray(0, 3_000_000)
    expect((await ask(id, 'PUT', '/files?path=/root/some/file', content)).status).toBe(200)
    expect((await ask(id, 'GET', '/files?path=/root/some/file')).body.equals(content)).toBe(true)
    expect((await ask(id, 'GET', '/files?path=/root/none')).status).toBe(404)
  })

  it('has a disk of the asked size', async () => {
    const kib = Number((await exec(id, 'df -k --output=size / | tail -1')).stdout)
    expect(kib / 1024).toBeGreaterThan(450)
    expect(kib / 1024).toBeLessThan(512)
  })

  it('reaches no network', async () => {
    expect((await exec(id, 'ls /sys/class/net')).stdout.trim()).toBe('lo')
  })

  it('measures what it uses', async () => {
    const before = await engine.stats(id, 1)
    await exec(id, 'head -c 20000000 /dev/urandom > /root/noise; sync')
    const after = await engine.stats(id, 1)
    expect(after.cpu_ms).toBeGreaterThan(before.cpu_ms)
    expect(after.disk_used_bytes - before.disk_used_bytes).toBeGreaterThan(15_000_000)
    expect(after.mem_peak_bytes).toBeGreaterThanOrEqual(after.mem_current_bytes)
    expect(after.uptime_ms).toBeGreaterThan(before.uptime_ms)
  })

  it('stays within bounds when the guest prints for ever', async () => {
    const before = process.memoryUsage().rss
    await exec(id, 'timeout 3 sh -c "yes > /dev/ttyS0"; true')
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
    expect((await exec(id, 'echo still here')).stdout).toBe('still here\n')
  })
})

it('tells that a machine died, frees all of it and keeps its last usage', async () => {
  const id = 'runbbbbbbbbbbbbbbbbbbbbbbbbbb'
  await engine.create(id, 1, spec)
  await engine.stats(id, 1)
  await crash(id)
  await expect.poll(() => changes.find((change) => change.sandbox === id && change.state === 'error')).toBeDefined()
  const told = changes.find((change) => change.sandbox === id && change.state === 'error')
  expect(told).toMatchObject({ byItself: true, reason: "its virtual machine's process ended by signal 9" })
  expect(told?.usage?.cpu_ms).toBeGreaterThan(0)
  expect(await folder.leftovers()).toEqual([])
  expect(await engine.destroy(id, 1)).toEqual(told?.usage)
})

it('has its state folder for itself', async () => {
  await expect(open()).rejects.toMatchObject({ code: 'conflict' })
})

it('destroys what is left when it is closed', async () => {
  await engine.create('runcccccccccccccccccccccccccc', 1, spec)
  await engine.close()
  expect(await folder.leftovers()).toEqual([])
  engine = await open()
  expect(engine.status().sandboxes).toEqual([])
})

it('takes over what a runner that was killed left running', async () => {
  const other = await testFolder()
  await giveTemplates(other.stateDir)
  const id = 'runffffffffffffffffffffffffff'
  const script = join(import.meta.dirname, 'testing', 'abandoned-runner.ts')
  const args = ['--conditions', 'portico-source', script, other.stateDir, assetsFile, id]
  const abandoned = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const before = engine
  try {
    await once(abandoned.stdout, 'data')
    abandoned.kill('SIGKILL')
    await once(abandoned, 'exit')
    expect((await other.leftovers()).length).toBeGreaterThan(1)
    engine = await openEngine({ stateDir: other.stateDir, assets: assetsFile, logLevel: 'silent', poolSize: 0 })
    expect(engine.status().sandboxes).toEqual([{ sandbox: id, generation: 1, state: 'running' }])
    expect((await exec(id, 'hostname')).stdout).toBe('runffffffff\n')
    await engine.close()
    expect(await other.leftovers()).toEqual([])
  } finally {
    engine = before
    abandoned.kill('SIGKILL')
    await other.remove()
  }
})

it('forks, keeps and wakes a sandbox with its files and what runs in it', async () => {
  const [parent, child, restored] = ['g', 'h', 'i'].map((letter) => `run${letter.repeat(26)}`) as [
    string,
    string,
    string,
  ]
  await engine.create(parent, 1, spec)
  await exec(parent, 'echo then > /root/f; sleep 1000 >/dev/null 2>&1 & echo $! > /root/pid')
  const { children } = await engine.fork(parent, 1, [{ sandbox: child, generation: 1 }])
  expect(children).toEqual([{ sandbox: child, createMs: expect.any(Number) }])
  expect((await engine.snapshot(parent, 1, 'snapx')).sizeBytes).toBeGreaterThan(0)
  const slow = exec(parent, 'for i in 1 2 3; do echo $i; sleep 1; done')
  await exec(parent, 'echo later > /root/f')
  await engine.hibernate(parent, 1)
  await expect(exec(parent, 'true')).rejects.toMatchObject({ code: 'sandbox_hibernated' })
  await engine.resume(parent, 1)
  expect((await slow).stdout).toBe('1\n2\n3\n')
  await engine.restore(restored, 1, 'snapx', spec)
  const look = 'cat /root/f; kill -0 $(cat /root/pid) && echo runs; cat /proc/sys/kernel/random/uuid'
  const seen = await Promise.all([parent, child, restored].map(async (id) => (await exec(id, look)).stdout.split('\n')))
  expect(seen.map(([file, runs]) => [file, runs])).toEqual([
    ['later', 'runs'],
    ['then', 'runs'],
    ['then', 'runs'],
  ])
  expect(new Set(seen.map(([, , random]) => random)).size).toBe(3)
  await Promise.all([parent, child, restored].map((id) => engine.destroy(id, 1)))
  await engine.deleteSnapshot('snapx')
  expect(await folder.leftovers()).toEqual([])
}, 60_000)

it('creates and destroys again and again without leaving anything', async () => {
  for (let round = 0; round < 3; round++) {
    const ids = ['d', 'e'].map((letter) => `run${letter.repeat(25)}${'aeim'[round]}`)
    await Promise.all(ids.map((id) => engine.create(id, 1, spec)))
    await Promise.all(ids.map((id) => engine.destroy(id, 1)))
  }
  expect(await folder.leftovers()).toEqual([])
})
