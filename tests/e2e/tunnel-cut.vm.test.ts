/** The tunnel between runner and front door is cut, or the front door goes away: callers get an answer, the sandbox stays, the runner comes back. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'
import { Relay } from '../kit/relay.ts'

describe('a tunnel that is cut', () => {
  const relay = new Relay()
  let platform: TestPlatform

  beforeAll(async () => {
    platform = await testPlatform({ tunnelPort: (frontDoor) => relay.open(frontDoor) })
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
    await relay[Symbol.asyncDispose]()
  })

  /** Tries until a call gets through; the milliseconds that took. */
  async function untilBack(id: string): Promise<number> {
    const start = performance.now()
    const limit = AbortSignal.timeout(30_000)
    for (;;) {
      limit.throwIfAborted()
      const response = await platform.call(`/v1/runs/${id}/files?path=/`)
      await response.arrayBuffer()
      if (response.ok) return performance.now() - start
      expect(response.status).toBe(503)
    }
  }

  it('gives a running exec a clear retryable error at once, and the sandbox is still there with its files', async () => {
    const sandbox = await platform.portico.create({ image: 'python' })
    await sandbox.exec('echo kept > /root/note')
    const start = performance.now()
    const running = platform.call(`/v1/runs/${sandbox.id}/exec`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ command: 'touch /root/started; sleep 20; echo late' }),
    })
    while (!(await sandbox.files.list('/root')).some(({ name }) => name === 'started'));
    relay.cut()
    const response = await running
    const body = (await response.json()) as Record<string, unknown>
    expect(response.status).toBe(503)
    expect(body).toMatchObject({ code: 'runner_disconnected', retryable: true })
    expect(performance.now() - start).toBeLessThan(15_000)
    await untilBack(sandbox.id)
    expect((await sandbox.exec('cat /root/note')).stdout).toBe('kept\n')
    await sandbox.destroy()
  })

  it('ends uploads and downloads that were under way, without a hang or half a file', async () => {
    await using sandbox = await platform.portico.create({ image: 'python' })
    await sandbox.exec('head -c 30000000 /dev/zero > /root/big')
    let sent = 0
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        if (sent === 20) relay.cut()
        if (sent++ < 40) controller.enqueue(new Uint8Array(500_000))
        else controller.close()
      },
    })
    const upload = platform.call(`/v1/runs/${sandbox.id}/files/upload?path=/root/partial`, {
      method: 'POST',
      body,
      duplex: 'half',
    } as RequestInit)
    const outcome = await upload.then(
      (response) => response.status,
      () => 'connection ended',
    )
    expect([503, 'connection ended']).toContain(outcome)
    await untilBack(sandbox.id)
    const download = await platform.call(`/v1/runs/${sandbox.id}/files/download?path=/root/big`)
    const reader = (download.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    relay.cut()
    const rest = async () => {
      while (!(await reader.read()).done);
    }
    await expect(rest()).rejects.toThrow()
    await untilBack(sandbox.id)
    expect((await sandbox.exec('ls /root')).stdout).toBe('big\n')
  })

  it('survives ten cuts in a row with an exec between each', async () => {
    await using sandbox = await platform.portico.create({ image: 'python' })
    for (let turn = 0; turn < 10; turn++) {
      relay.cut()
      await untilBack(sandbox.id)
      expect((await sandbox.exec(`echo ${turn}`)).stdout).toBe(`${turn}\n`)
    }
  })

  it('is back within 2 s of the return of the front door, and the sandbox with it', async () => {
    const sandbox = await platform.portico.create({ image: 'python' })
    await sandbox.exec('echo kept > /root/note')
    await platform.platform.restartFrontDoor()
    const ms = await untilBack(sandbox.id)
    expect(ms).toBeLessThan(2000)
    expect((await sandbox.exec('cat /root/note')).stdout).toBe('kept\n')
    expect((await sandbox.destroy()).uptimeMs).toBeGreaterThan(0)
  })
})
