/** Sandboxes that are forked, kept as snapshots and put to sleep, through the SDK and the command line of a whole platform. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { root } from '@portico/deploy/checkout'
import type { CreateOptions, Sandbox, SandboxStatus } from '@portico/sdk'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { askKeeper, type Execute, startKeeper } from '../kit/keeper.ts'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'

describe('sandboxes that are copied and put to sleep', () => {
  let platform: TestPlatform

  beforeAll(async () => {
    platform = await testPlatform()
  })

  afterEach(async () => {
    for (const sandbox of await platform.portico.list()) await sandbox.destroy()
    for (const { id } of await platform.portico.snapshots()) await platform.portico.deleteSnapshot(id)
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
  })

  /** A sandbox with a file and a process whose state is in memory alone. */
  async function prepared(options: CreateOptions = {}): Promise<{ sandbox: Sandbox; secret: string }> {
    const sandbox = await platform.portico.create({ image: 'python', memMiB: 256, diskMiB: 512, ...options })
    await sandbox.files.write('/root/note', 'of the moment')
    return { sandbox, secret: await startKeeper(shellOf(sandbox)) }
  }

  /** Runs shell lines in a sandbox; one that fails is a failed test. */
  function shellOf(sandbox: Sandbox): Execute {
    return async (line) => {
      const { exitCode, stdout, stderr } = await sandbox.exec(line)
      expect({ line, exitCode, stderr }).toEqual({ line, exitCode: 0, stderr: '' })
      return stdout
    }
  }

  /** Whether a sandbox goes on from the moment it was prepared in. */
  async function goesOn(sandbox: Sandbox, secret: string, turns = 2): Promise<void> {
    expect(await askKeeper(shellOf(sandbox))).toEqual({ secret, turns })
    expect(await sandbox.files.readText('/root/note')).toBe('of the moment')
  }

  /** Waits for a status that comes by itself. */
  async function becomes(sandbox: Sandbox, status: SandboxStatus): Promise<void> {
    const limit = AbortSignal.timeout(30_000)
    while ((await sandbox.info()).status !== status) await wait(50, undefined, { signal: limit })
  }

  /** A line of the CLI, as a pipe sees it. */
  async function portico(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const { url, apiKey } = platform.platform
    const env = { ...process.env, PORTICO_URL: url, PORTICO_API_KEY: apiKey }
    const child = spawn(join(root, 'node_modules', '.bin', 'portico'), args, { env })
    child.stdin.end()
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code: code as number, stdout, stderr }
  }

  async function found(id: string): Promise<Sandbox> {
    const sandbox = await platform.portico.get(id)
    if (sandbox === null) throw new Error(`there is no sandbox ${id}`)
    return sandbox
  }

  describe('fork', () => {
    it('makes children with the files and the memory of the moment, each for itself', async () => {
      const { sandbox, secret } = await prepared()
      const { children, failed, pauseMs } = await sandbox.fork(2)
      expect(failed).toEqual([])
      expect(pauseMs).toBeGreaterThan(0)
      expect(children.map(({ forkedFrom, status }) => [forkedFrom, status])).toEqual([
        [sandbox.id, 'running'],
        [sandbox.id, 'running'],
      ])
      const all = [sandbox, ...children]
      for (const one of all) await goesOn(one, secret)
      const own = await Promise.all(all.map((one) => shellOf(one)('hostname; cat /proc/sys/kernel/random/uuid')))
      expect(new Set(own.flatMap((lines) => lines.trim().split('\n'))).size).toBe(6)
      for (const child of children) await child.files.write('/root/note', child.id)
      expect(await sandbox.files.readText('/root/note')).toBe('of the moment')
      await sandbox.destroy()
      for (const child of children) expect(await child.files.readText('/root/note')).toBe(child.id)
    })

    it('leaves a command of the parent alone, whose output is whole', async () => {
      const { sandbox } = await prepared()
      const running = sandbox.exec(count('/root/counting'))
      await begun(sandbox, '/root/counting')
      const { children } = await sandbox.fork()
      expect(await running).toMatchObject({ exitCode: 0, stdout: counted, stderr: '' })
      expect(children).toHaveLength(1)
    })

    it('on the command line prints the ids of the children', async () => {
      const { sandbox, secret } = await prepared()
      const forked = await portico('fork', sandbox.id, '--count', '2')
      expect(forked).toEqual({ code: 0, stdout: expect.stringMatching(/^(run[a-z2-7]{26}\n){2}$/), stderr: '' })
      for (const id of forked.stdout.trim().split('\n')) await goesOn(await found(id), secret)
      const wide = await portico('list', '--wide')
      expect({ code: wide.code, stderr: wide.stderr }).toEqual({ code: 0, stderr: '' })
      expect(wide.stdout.match(/ running .*\d MiB {2,}\d\S* {2,}\d[^\n]*$/gm)).toHaveLength(3)
    })
  })

  describe('a snapshot', () => {
    it('is restored twice after its source is destroyed, each time from the same moment', async () => {
      const { sandbox, secret } = await prepared({ env: { WHOSE: 'the source' } })
      const snapshot = await sandbox.snapshot()
      expect(snapshot.sandboxId).toBe(sandbox.id)
      expect(snapshot.sizeBytes).toBeGreaterThan(0)
      await goesOn(sandbox, secret)
      await sandbox.destroy()
      for (const WHOSE of [undefined, 'its own']) {
        await using restored = await platform.portico.restore(
          snapshot.id,
          WHOSE === undefined ? {} : { env: { WHOSE } },
        )
        expect(restored).toMatchObject({ restoredFrom: snapshot.id, image: 'python', memMiB: 256 })
        await goesOn(restored, secret)
        expect(await shellOf(restored)('echo "$WHOSE"')).toBe(`${WHOSE ?? 'the source'}\n`)
      }
      expect(await platform.portico.snapshots()).toEqual([snapshot])
    })

    it('on the command line is a chain of ids', async () => {
      const { sandbox, secret } = await prepared()
      const taken = (await portico('snapshot', sandbox.id)).stdout.trim()
      expect((await portico('snapshots', '-q')).stdout).toBe(`${taken}\n`)
      expect((await portico('stop', sandbox.id)).code).toBe(0)
      const restored = await portico('restore', taken)
      expect(restored).toMatchObject({ code: 0, stderr: '' })
      await goesOn(await found(restored.stdout.trim()), secret)
      expect(await portico('snapshots', 'rm', taken)).toEqual({ code: 0, stdout: `${taken}\n`, stderr: '' })
      expect((await portico('restore', taken)).code).toBe(125)
    })
  })

  describe('a hibernated sandbox', () => {
    it('refuses use with what to do about it, and once resumed goes on where it was', async () => {
      const { sandbox, secret } = await prepared()
      await sandbox.hibernate()
      expect(await sandbox.info()).toMatchObject({ id: sandbox.id, status: 'hibernated' })
      const refusal = {
        status: 409,
        code: 'sandbox_hibernated',
        retryable: false,
        hint: expect.stringMatching(/Resume/),
      }
      await expect(sandbox.exec('true')).rejects.toMatchObject(refusal)
      await expect(sandbox.files.readText('/root/note')).rejects.toMatchObject(refusal)
      await sandbox.hibernate()
      await sandbox.resume()
      await sandbox.resume()
      expect((await sandbox.info()).status).toBe('running')
      await goesOn(sandbox, secret)
      await sandbox.hibernate()
      await sandbox.resume()
      await goesOn(sandbox, secret, 3)
    })

    it('on the command line sleeps and wakes', async () => {
      const { sandbox, secret } = await prepared()
      expect(await portico('hibernate', sandbox.id)).toEqual({ code: 0, stdout: `${sandbox.id}\n`, stderr: '' })
      expect((await portico('list')).stdout).toMatch(new RegExp(`^${sandbox.id}  -     hibernated `, 'm'))
      const refused = await portico('exec', sandbox.id, '--', 'true')
      expect(refused).toMatchObject({ code: 125, stdout: '' })
      expect(refused.stderr).toMatch(/^portico: cannot [^\n]*\nhint: [^\n]*portico resume[^\n]*\n$/)
      expect(await portico('resume', sandbox.id)).toEqual({ code: 0, stdout: `${sandbox.id}\n`, stderr: '' })
      await goesOn(sandbox, secret)
    })

    it('wakes on any use where it was created so', async () => {
      const { sandbox, secret } = await prepared({ autoResume: true })
      await sandbox.hibernate()
      expect((await sandbox.exec('echo awake')).stdout).toBe('awake\n')
      await becomes(sandbox, 'running')
      await goesOn(sandbox, secret)
      await sandbox.hibernate()
      expect(await sandbox.files.readText('/root/note')).toBe('of the moment')
      await goesOn(sandbox, secret, 3)
    })

    it('is one that was idle, where it was created so', async () => {
      const { sandbox, secret } = await prepared({ timeoutSec: 3, onIdle: 'hibernate' })
      await becomes(sandbox, 'hibernated')
      await sandbox.resume()
      await goesOn(sandbox, secret)
      await sandbox.destroy()
      expect(await platform.portico.get(sandbox.id)).toBeNull()
    })

    it('goes on with a command that was under way, whose output is whole', async () => {
      const { sandbox } = await prepared()
      const running = sandbox.exec(count('/root/counting'), { timeoutSec: 60 })
      await begun(sandbox, '/root/counting')
      await sandbox.hibernate()
      expect((await sandbox.info()).status).toBe('hibernated')
      await sandbox.resume()
      expect(await running).toMatchObject({ exitCode: 0, stdout: counted, stderr: '', timedOut: false })
    })

    it('is not billed for its sleep', async () => {
      const start = performance.now()
      const { sandbox } = await prepared()
      const { sandbox: other } = await prepared()
      await sandbox.hibernate()
      await other.exec('sleep 3')
      await sandbox.resume()
      const { uptimeMs, cpuMs, memCurrentBytes } = await sandbox.usage()
      expect(uptimeMs).toBeGreaterThan(0)
      expect(uptimeMs).toBeLessThan(performance.now() - start - 3000)
      expect(cpuMs).toBeGreaterThan(0)
      expect(memCurrentBytes).toBeGreaterThan(2 ** 20)
      expect((await sandbox.destroy()).uptimeMs).toBeLessThan(performance.now() - start - 3000)
    })

    it('can be destroyed in its sleep', async () => {
      const { sandbox } = await prepared()
      await sandbox.hibernate()
      expect((await sandbox.destroy()).uptimeMs).toBeGreaterThan(0)
      expect(await platform.portico.get(sandbox.id)).toBeNull()
    })

    it.each(['SIGTERM', 'SIGKILL'] as const)('outlasts a runner that ends by %s and comes back', async (signal) => {
      const { sandbox, secret } = await prepared()
      const snapshot = await sandbox.snapshot()
      await sandbox.hibernate()
      await platform.restartRunner(signal)
      expect((await sandbox.info()).status).toBe('hibernated')
      await sandbox.resume()
      await goesOn(sandbox, secret)
      await using restored = await platform.portico.restore(snapshot.id)
      await goesOn(restored, secret)
    })
  })

  it('leave nothing on the runner once they are destroyed and their snapshots deleted', async () => {
    const state = join(platform.platform.stateDir, 'runner-1', 'state')
    const kept = async () => [await readdir(join(state, 'sandboxes')), await readdir(join(state, 'snapshots'))]
    const { sandbox } = await prepared()
    const { id } = await sandbox.snapshot()
    const { children } = await sandbox.fork()
    await sandbox.hibernate()
    expect((await kept()).map((names) => names.length)).toEqual([2, 1])
    for (const one of [sandbox, ...children]) await one.destroy()
    await platform.portico.deleteSnapshot(id)
    expect(await kept()).toEqual([[], []])
  })

  /** A command of some seconds that says that it has begun, and prints a line at a time. */
  const count = (marker: string) => `touch ${marker}; for n in $(seq 30); do echo "line $n"; sleep 0.1; done`
  const counted = Array.from({ length: 30 }, (_, index) => `line ${index + 1}\n`).join('')

  async function begun(sandbox: Sandbox, marker: string): Promise<void> {
    await sandbox.exec(`until [ -e ${marker} ]; do sleep 0.01; done`)
  }
})
