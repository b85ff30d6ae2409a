import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { answers } from '@portico/shared/control'
import { call } from '@portico/shared/tunnel'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { giveTemplates } from '../../tests/kit/templates.ts'
import { assetsFile, type TestFolder, testFolder } from './testing/host.ts'
import { ScriptedEdge } from './tunnel/scripted-edge.ts'

const signal = new AbortController().signal
const spec = { image: 'python', vcpus: 1, mem_mib: 256, disk_mib: 512, idle_timeout: 0, env: {} }

let folder: TestFolder
let edge: ScriptedEdge
let runner: ChildProcess | undefined

beforeEach(async () => {
  folder = await testFolder()
  await giveTemplates(folder.stateDir)
  edge = await ScriptedEdge.start()
})
afterEach(async () => {
  runner?.kill('SIGKILL')
  await edge.close()
  await folder.remove()
})

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly log: Record<string, unknown>[]
}

/** Starts the runner's process; the answer waits for its end. */
function start(args: string[], environment: Record<string, string> = {}): Promise<Ended> {
  const main = join(import.meta.dirname, 'main.ts')
  const child = spawn(process.execPath, ['--conditions', 'portico-source', main, ...args], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  runner = child
  return (async () => {
    const output = Promise.all([textOf(child.stdout), textOf(child.stderr).catch(() => '')])
    const [code] = (await once(child, 'exit')) as [number | null]
    const [stdout, stderr] = await output
    const log = stderr
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    return { code, stdout, log }
  })()
}

async function textOf(stream: AsyncIterable<unknown>): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  return text
}

async function configFile(): Promise<string> {
  await mkdir(folder.stateDir, { recursive: true })
  const file = join(folder.stateDir, '..', 'runner.json')
  const config = { edgeUrl: edge.url, token: 'the-secret-token', stateDir: folder.stateDir, assets: assetsFile }
  await writeFile(file, JSON.stringify(config))
  return file
}

it('connects, runs a sandbox, and on SIGTERM drains, leaves nothing and ends with 0', async () => {
  const ended = start(['--config', await configFile()])
  await edge.called('runner.status')
  const create = { op: 'sandbox.create', sandbox: 'runaaa', generation: 1, spec }
  await call(edge.muxer, create, answers['sandbox.create'], { signal })
  runner?.kill('SIGTERM')
  const { code, stdout, log } = await ended
  expect([code, stdout]).toEqual([0, ''])
  expect(edge.calls.findLast(({ op }) => op === 'sandbox.event')).toMatchObject({
    sandbox: 'runaaa',
    state: 'destroyed',
  })
  expect(edge.goneAway).toBe('no_runner')
  expect(await folder.leftovers()).toEqual([])
  const events = log.map(({ event, outcome }) => [event, outcome])
  for (const event of ['runner.start', 'tunnel.open', 'sandbox.create', 'runner.stop'])
    expect(events).toContainEqual([event, 'ok'])
  expect(JSON.stringify(log)).not.toContain('the-secret-token')
})

it('drains as well where nobody reads its log any more', async () => {
  const ended = start(['--config', await configFile()])
  await edge.called('runner.status')
  runner?.stderr?.destroy()
  runner?.kill('SIGTERM')
  expect((await ended).code).toBe(0)
  expect(await folder.leftovers()).toEqual([])
})

it('ends with 1 and one clear line where the configuration is wrong', async () => {
  const { code, log } = await start([], { PORTICO_EDGE_URL: 'http://example.com', PORTICO_RUNNER_TOKEN: 'x' })
  expect(code).toBe(1)
  expect(log).toHaveLength(1)
  expect(log[0]).toMatchObject({ event: 'runner.start', error: { code: 'invalid_request' } })
})

it('ends with 1 where set-up has not run', async () => {
  const environment = { PORTICO_HOME: folder.stateDir, PORTICO_EDGE_URL: edge.url, PORTICO_RUNNER_TOKEN: 'x' }
  const { code, log } = await start([], environment)
  expect(code).toBe(1)
  expect(JSON.stringify(log)).toContain('run the set-up first')
})

it('says what the host has', async () => {
  const environment = { PORTICO_ASSETS: assetsFile, PORTICO_STATE_DIR: folder.stateDir }
  const { code, stdout } = await start(['doctor', '--json'], environment)
  const { ok, points } = JSON.parse(stdout) as {
    ok: boolean
    points: { name: string; ok: boolean; required: boolean }[]
  }
  expect(points.filter((point) => point.required && !point.ok)).toEqual([])
  expect([code, ok]).toEqual([0, true])
  expect(points.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['bwrap', 'qemu', 'kernel', 'image python', 'jail', 'kvm']),
  )
})

it('says what the host lacks, how to mend it, and ends with 1', async () => {
  const { code, stdout } = await start(['doctor'], { PORTICO_HOME: folder.stateDir })
  expect(code).toBe(1)
  expect(stdout).toContain('what set-up builds is not there')
  expect(stdout).toContain('Run the set-up')
})
