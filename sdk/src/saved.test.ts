/** Sandboxes that are copied, kept and put to sleep. */

import { newRequestId } from '@portico/shared/ids'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type SeenRequest, sendJson, WireServer } from '../test/wire-server.ts'
import { CapacityError, ConflictError, NotFoundError, Portico, type Sandbox } from './index.ts'

let wire: WireServer
let portico: Portico
let sandbox: Sandbox

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  sandbox = await portico.create({ image: 'python', memMiB: 256 })
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

function lastBody(): string | undefined {
  return wire.requests.at(-1)?.body.toString()
}

/** Holds the next answer of a route back until it is released. */
function hold(route: string): { arrived: Promise<SeenRequest>; release: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const arrived = wire.arrival(route)
  wire.intercept(route, async (seen, response) => {
    await promise
    await wire.answer(seen, response)
  })
  return { arrived, release: resolve }
}

describe('fork', () => {
  it('answers with children that are sandboxes of their own', async () => {
    await sandbox.files.write('/note', 'kept')
    const { children, failed, pauseMs } = await sandbox.fork(2)
    expect(lastBody()).toBe('{"count":2}')
    expect({ failed, pauseMs }).toEqual({ failed: [], pauseMs: 14 })
    expect(new Set([sandbox, ...children].map(({ id }) => id)).size).toBe(3)
    for (const child of children) {
      expect(child).toMatchObject({ status: 'running', memMiB: 256, forkedFrom: sandbox.id })
      expect(await child.files.readText('/note')).toBe('kept')
      await child.destroy()
    }
    expect([...wire.sandboxes.keys()]).toEqual([sandbox.id])
  })

  it('makes one child unless told', async () => {
    expect((await sandbox.fork()).children).toHaveLength(1)
    expect(lastBody()).toBe('{"count":1}')
  })

  it('tells which children failed and why, next to those that did not', async () => {
    const forks = [wire.sandboxes.get(sandbox.id)?.record]
    const failed = [
      { error: 'cannot fork: no room', code: 'capacity' },
      { error: 'cannot fork: too new', code: 'brand_new' },
    ]
    wire.intercept('POST /v1/runs/*', (_seen, response) => sendJson(response, 201, { forks, failed, pause_ms: 3 }))
    const result = await sandbox.fork(3)
    expect(result.children).toHaveLength(1)
    expect(result.failed).toMatchObject([
      { name: 'CapacityError', code: 'capacity', message: 'cannot fork: no room', status: 429, retryable: true },
      { name: 'PorticoError', code: 'brand_new', message: 'cannot fork: too new', retryable: false },
    ])
  })

  it('rejects when no child came to be, and is not repeated', async () => {
    wire.fail('POST /v1/runs/*', 'capacity', 9)
    await expect(sandbox.fork(2)).rejects.toBeInstanceOf(CapacityError)
    wire.fail('POST /v1/runs/*', 'runner_disconnected', 9)
    await expect(sandbox.fork(2)).rejects.toMatchObject({ code: 'capacity' })
    expect(wire.count('POST /v1/runs/*')).toBe(2)
  })

  it('rejects at once when its signal aborts, and destroys the children that come of it', async () => {
    const controller = new AbortController()
    const { arrived, release } = hold('POST /v1/runs/*')
    const forking = sandbox.fork(3, { signal: controller.signal })
    await arrived
    controller.abort(new Error('changed my mind'))
    await expect(forking).rejects.toThrow('changed my mind')
    const closed = portico.close()
    release()
    await closed
    expect(wire.count('DELETE /v1/runs/*')).toBe(3)
    expect([...wire.sandboxes.keys()]).toEqual([sandbox.id])
  })
})

describe('snapshots', () => {
  it('outlive their sandbox and can be restored more than once', async () => {
    await sandbox.files.write('/note', 'kept')
    const taken = await sandbox.snapshot()
    expect(taken).toEqual({
      id: expect.stringMatching(/^snap[a-z2-7]{26}$/),
      sandboxId: sandbox.id,
      sizeBytes: 2_500_000,
      createdAt: expect.any(Date),
    })
    await sandbox.destroy()
    for (let turn = 0; turn < 2; turn++) {
      const restored = await portico.restore(taken.id)
      expect(restored).toMatchObject({ restoredFrom: taken.id, image: 'python', memMiB: 256, status: 'running' })
      expect(await restored.files.readText('/note')).toBe('kept')
    }
    expect(wire.sandboxes.size).toBe(2)
  })

  it('are restored with what the options change, by its name on the wire', async () => {
    const { id } = await sandbox.snapshot()
    const options = { timeoutSec: 60, env: { A: 'b' }, autoResume: true, onIdle: 'hibernate' } as const
    const restored = await portico.restore(id, options)
    expect(JSON.parse(lastBody() ?? '')).toEqual({
      snapshot_id: id,
      timeout: 60,
      env: { A: 'b' },
      auto_resume: true,
      on_idle: 'hibernate',
    })
    expect(restored).toMatchObject({ timeoutSec: 60, autoResume: true, onIdle: 'hibernate' })
  })

  it('cannot be restored with another machine than the one that was saved', async () => {
    const slip = { memMiB: 512, timeoutSec: 9 }
    await expect(portico.restore('snapaaaa', slip)).rejects.toThrow(
      'cannot restore the snapshot: there is no option memMiB',
    )
  })

  it('are listed, newest first, until they are deleted', async () => {
    const first = await sandbox.snapshot()
    const second = await sandbox.snapshot()
    expect(await portico.snapshots()).toEqual([second, first])
    await portico.deleteSnapshot(second.id)
    expect(await portico.snapshots()).toEqual([first])
    await expect(portico.deleteSnapshot(second.id)).rejects.toBeInstanceOf(NotFoundError)
    await expect(portico.restore(second.id)).rejects.toMatchObject({
      name: 'NotFoundError',
      code: 'snapshot_not_found',
    })
  })

  it('that nobody waits for any more are deleted', async () => {
    const controller = new AbortController()
    const { arrived, release } = hold('POST /v1/runs/*')
    const taking = sandbox.snapshot({ signal: controller.signal })
    await arrived
    controller.abort(new Error('changed my mind'))
    await expect(taking).rejects.toThrow('changed my mind')
    const closed = portico.close()
    release()
    await closed
    expect(wire.count('DELETE /v1/snapshots/*')).toBe(1)
    expect(wire.snapshots.size).toBe(0)
  })

  it('whose restore nobody waits for any more leave no sandbox', async () => {
    const { id } = await sandbox.snapshot()
    const { arrived, release } = hold('POST /v1/runs/restore')
    const restoring = expect(portico.restore(id)).rejects.toMatchObject({ code: 'cancelled' })
    await arrived
    const closed = portico.close()
    await restoring
    release()
    await closed
    expect([...wire.sandboxes.keys()]).toEqual([sandbox.id])
    expect(wire.snapshots.size).toBe(1)
  })
})

describe('a hibernated sandbox', () => {
  it('refuses use with what to do about it, until it is resumed', async () => {
    await sandbox.hibernate()
    expect(sandbox.status).toBe('hibernated')
    const used = sandbox.exec('echo hi')
    await expect(used).rejects.toBeInstanceOf(ConflictError)
    await expect(used).rejects.toMatchObject({ code: 'sandbox_hibernated', hint: expect.stringMatching(/Resume it/) })
    await sandbox.resume()
    expect(sandbox.status).toBe('running')
    expect((await sandbox.exec('echo hi')).stdout).toBe('hi\n')
  })

  it('may be told to sleep or to wake twice', async () => {
    await sandbox.hibernate()
    await sandbox.hibernate()
    await sandbox.resume()
    await sandbox.resume()
    expect((await sandbox.info()).status).toBe('running')
  })

  it('is woken by use where it was created so', async () => {
    const waking = await portico.create({ autoResume: true })
    await waking.hibernate()
    expect((await waking.exec('echo hi')).stdout).toBe('hi\n')
    expect((await waking.info()).status).toBe('running')
  })

  it.each(['hibernate', 'resume'] as const)('%s is repeated when the platform is unavailable', async (verb) => {
    wire.fail('POST /v1/runs/*', 'runner_disconnected', 2)
    await sandbox[verb]()
    expect(wire.count(`POST /v1/runs/${sandbox.id}/${verb}`)).toBe(3)
  })

  it.each(['hibernate', 'resume'] as const)('%s that failed leaves the handle as it was', async (verb) => {
    const error = { error: 'cannot save', code: 'no_space', retryable: false, request_id: newRequestId() }
    wire.intercept('POST /v1/runs/*', (_seen, response) => sendJson(response, 507, error))
    await expect(sandbox[verb]()).rejects.toMatchObject({ name: 'CapacityError', message: 'cannot save' })
    expect(sandbox.status).toBe('running')
  })
})
