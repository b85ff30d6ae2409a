/** Runners that die, stay away, are emptied and are given up: what becomes of their sandboxes, and what callers are told meanwhile. */

import { setTimeout as wait } from 'node:timers/promises'
import { Portico, type Sandbox } from '@portico/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askKeeper, type Execute, startKeeper } from '../kit/keeper.ts'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'
import { runnerConnected } from '../kit/runner.ts'

const unreachableAfterMs = 3000

describe('a runner that goes away', () => {
  let platform: TestPlatform

  beforeAll(async () => {
    platform = await testPlatform({
      fleet: ['us', 'eu'],
      poolSize: 0,
      variables: { UNREACHABLE_AFTER_SECONDS: String(unreachableAfterMs / 1000) },
    })
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
  })

  function client(region: string): Portico {
    return new Portico({ baseUrl: platform.platform.url, apiKey: keyOf(region) })
  }

  function keyOf(region: string): string {
    return platform.platform.apiKeys[region] ?? ''
  }

  function runnerOf(region: string): { index: number; id: string } {
    const index = platform.platform.fleet.findIndex((runner) => runner.region === region)
    return { index, id: platform.platform.fleet[index]?.id ?? '' }
  }

  /** A sandbox with a process whose state is in memory alone. */
  async function prepared(region: string): Promise<{ sandbox: Sandbox; secret: string }> {
    const sandbox = await client(region).create({ image: 'python', memMiB: 256, diskMiB: 512, timeoutSec: 0 })
    return { sandbox, secret: await startKeeper(shellOf(sandbox)) }
  }

  function shellOf(sandbox: Sandbox): Execute {
    return async (line) => {
      const { exitCode, stdout, stderr } = await sandbox.exec(line)
      expect({ line, exitCode, stderr }).toEqual({ line, exitCode: 0, stderr: '' })
      return stdout
    }
  }

  async function becomes(sandbox: Sandbox, region: string, status: string): Promise<number> {
    const start = performance.now()
    const limit = AbortSignal.timeout(30_000)
    for (;;) {
      const found = await call(region, `/v1/runs/${sandbox.id}`)
      if (found.body.status === status) return performance.now() - start
      if (limit.aborted) expect(found.body).toMatchObject({ status })
      await wait(50)
    }
  }

  /** What a command is answered, once the platform knows of the sandbox's state: also where the front door remembers where it was. */
  async function refusedWith(sandbox: Sandbox, region: string, code: string): ReturnType<typeof call> {
    const answer = await call(region, `/v1/runs/${sandbox.id}/exec`, 'POST', { command: 'true' })
    expect(answer.body.code).toBe(code)
    return answer
  }

  async function call(region: string, path: string, method = 'GET', json?: object) {
    const body = json && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(json) }
    const response = await platform.call(path, { key: keyOf(region), method, ...body })
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Record<string, unknown>,
    }
  }

  it('loses no sandbox when it is killed, and what runs in them goes on meanwhile', async () => {
    const { index } = runnerOf('us')
    const { sandbox, secret } = await prepared('us')
    await sandbox.exec('(i=0; while sleep 0.1; do i=$((i+1)); echo $i >/root/count; done) >/dev/null 2>&1 &')
    await platform.platform.killRunner(index)
    await runnerConnected(platform.platform, index, false)
    await platform.platform.startRunner(index)
    await runnerConnected(platform.platform, index)
    await becomes(sandbox, 'us', 'running')
    expect(await askKeeper(shellOf(sandbox))).toEqual({ secret, turns: 2 })
    const before = Number((await sandbox.exec('cat /root/count')).stdout)
    const after = Number((await sandbox.exec('sleep 1; cat /root/count')).stdout)
    expect(after).toBeGreaterThan(before)
    await sandbox.destroy()
  })

  it('is told of in time, while callers get an answer that says to try again, until it is back', async () => {
    const { index } = runnerOf('us')
    const { sandbox, secret } = await prepared('us')
    await platform.platform.killRunner(index)
    expect(await becomes(sandbox, 'us', 'unreachable')).toBeLessThan(unreachableAfterMs + 5000)
    const refused = await refusedWith(sandbox, 'us', 'sandbox_unreachable')
    expect(refused).toMatchObject({ status: 503, body: { retryable: true } })
    expect(refused.headers.get('retry-after')).toBe('5')
    const { runs } = (await call('us', '/v1/runs?state=unreachable')).body
    expect(runs).toEqual([expect.objectContaining({ id: sandbox.id, status: 'unreachable' })])
    // Also to a front door that was not there when the runner left.
    await platform.platform.restartFrontDoor()
    expect((await call('us', `/v1/runs/${sandbox.id}`)).body.status).toBe('unreachable')
    await platform.platform.startRunner(index)
    await becomes(sandbox, 'us', 'running')
    expect(await askKeeper(shellOf(sandbox))).toEqual({ secret, turns: 2 })
    await sandbox.destroy()
  })

  it('is told of even when the front door was away at that moment', async () => {
    const { index } = runnerOf('us')
    const { sandbox } = await prepared('us')
    await platform.platform.killFrontDoor()
    await platform.platform.killRunner(index)
    await platform.platform.restartFrontDoor()
    await becomes(sandbox, 'us', 'unreachable')
    await platform.platform.startRunner(index)
    await becomes(sandbox, 'us', 'running')
    await sandbox.destroy()
  })

  it('is emptied without losing a sandbox, and takes new ones again', async () => {
    const { id } = runnerOf('us')
    const { admin } = platform.platform
    const both = [await prepared('us'), await prepared('us')]
    expect(await admin.drain(id, 'hibernate')).toMatchObject({ drain: { mode: 'hibernate' } })
    const limit = AbortSignal.timeout(60_000)
    const drain = async () => (await admin.runners()).find((runner) => runner.id === id)?.drain
    while ((await drain())?.done !== true) await wait(100, undefined, { signal: limit })
    expect(await drain()).toMatchObject({ running: 0, hibernated: 2, done: true })
    for (const { sandbox } of both) expect((await call('us', `/v1/runs/${sandbox.id}`)).body.status).toBe('hibernated')
    const refused = await call('us', '/v1/runs', 'POST', { image: 'python', mem_mib: 256, disk_mib: 512 })
    expect([429, 503]).toContain(refused.status)
    expect(refused.body.retryable).toBe(true)
    expect((await admin.undrain(id)).drain).toBeNull()
    for (const { sandbox, secret } of both) {
      await sandbox.resume()
      expect(await askKeeper(shellOf(sandbox))).toEqual({ secret, turns: 2 })
      await sandbox.destroy()
    }
    await (await client('us').create({ image: 'python', memMiB: 256, diskMiB: 512 })).destroy()
  })

  it('given up as lost, ends its sandboxes for good, with a place in the history', async () => {
    const { index, id } = runnerOf('eu')
    const { admin } = platform.platform
    const { sandbox } = await prepared('eu')
    await sandbox.destroy()
    const lost = [await prepared('eu'), await prepared('eu')].map((one) => one.sandbox)
    await platform.platform.killRunner(index)
    await runnerConnected(platform.platform, index, false)
    const kept = await admin.fetch('DELETE', `/admin/runners/${id}`)
    expect(kept.status).toBe(409)
    expect(await kept.json()).toMatchObject({ code: 'conflict' })
    const removed = await admin.fetch('DELETE', `/admin/runners/${id}?lost=true`)
    expect(await removed.json()).toEqual({ id, status: 'removed', lost_sandboxes: 2 })
    for (const one of lost) {
      await becomes(one, 'eu', 'lost')
      expect((await call('eu', `/v1/runs/${one.id}`)).body.reason).toEqual(expect.any(String))
      expect(await refusedWith(one, 'eu', 'sandbox_lost')).toMatchObject({ status: 410, body: { retryable: false } })
    }
    expect(await client('eu').list()).toEqual([])
    const history = (await call('eu', '/v1/runs/history')).body.sandboxes as { id: string; status: string }[]
    const ends = Object.fromEntries(history.map((one) => [one.id, one.status]))
    expect(ends).toMatchObject({
      [sandbox.id]: 'destroyed',
      ...Object.fromEntries(lost.map((one) => [one.id, 'lost'])),
    })
    expect((await admin.runners()).map((runner) => runner.id)).not.toContain(id)
    await expect(call('eu', `/v1/runs/${lost[0]?.id}`, 'DELETE')).resolves.toMatchObject({ status: 200 })
  })
})
