/** Sandboxes come and go: their clocks, their ends, many in a row. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'

describe('the life of sandboxes', () => {
  let platform: TestPlatform

  beforeAll(async () => {
    platform = await testPlatform({ poolSize: 0 })
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
  })

  /** Creates, runs and destroys one; the answer is what it printed. */
  async function createRunDestroy(image: string): Promise<string> {
    await using sandbox = await platform.portico.create({ image })
    return (await sandbox.exec('echo "$0 works"')).stdout
  }

  it('destroys an idle sandbox after its timeout, and not while it is used', { timeout: 90_000 }, async () => {
    const sandbox = await platform.portico.create({ image: 'python', timeoutSec: 2 })
    await sandbox.exec('sleep 4')
    expect((await sandbox.exec('echo still here')).stdout).toBe('still here\n')
    const limit = AbortSignal.timeout(20_000)
    while ((await platform.portico.get(sandbox.id)) !== null) await wait(50, undefined, { signal: limit })
    expect((await platform.portico.list()).map(({ id }) => id)).not.toContain(sandbox.id)
  })

  it('gives the sandbox its environment and a clock and hostname of its own', async () => {
    await using sandbox = await platform.portico.create({ image: 'python', env: { GREETING: 'hello' } })
    const { stdout } = await sandbox.exec('echo $GREETING $MORE; hostname; date +%s', { env: { MORE: 'more' } })
    const [words, hostname, seconds] = stdout.split('\n')
    expect(words).toBe('hello more')
    expect(sandbox.id).toContain(hostname)
    expect(Math.abs(Number(seconds) - Date.now() / 1000)).toBeLessThan(2)
  })

  it('shows what was asked for and what it became', async () => {
    await using sandbox = await platform.portico.create({ image: 'python:3.12-slim' })
    const record = (await (await platform.call(`/v1/runs/${sandbox.id}`)).json()) as Record<string, unknown>
    expect(record).toMatchObject({
      image: 'python:3.12-slim',
      resolved_image: 'python',
      status: 'running',
      region: 'local',
    })
  })

  it('makes 30, two at a time, with both cores busy besides, none hanging', { timeout: 600_000 }, async () => {
    const burners = [1, 2].map(() => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }))
    const lane = async () => {
      for (let turn = 0; turn < 15; turn++) expect(await createRunDestroy('python')).toContain('works')
    }
    try {
      await Promise.all([lane(), lane()])
    } finally {
      for (const burner of burners) {
        burner.kill('SIGKILL')
        await once(burner, 'exit')
      }
    }
  })
})
