/** Messages of a runner that come late or again: in its object's real tables, and through the API. */

import { evictAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { RunnerNews, RunnerStatus } from '@portico/shared/control'
import { newRunnerId, newSandboxId } from '@portico/shared/ids'
import type { SandboxState } from '@portico/shared/lifecycle'
import { describe, expect, test } from 'vitest'
import { objectsOf } from '../src/durable/objects.ts'
import { Order } from '../src/runner/order.ts'
import { AssignedTable } from '../src/store/assigned.ts'
import { adminKey, answer } from './client.ts'
import { RunnerScene } from './runner-scene.ts'
import { enrol, newSession, ScriptedRunner, someUsage } from './scripted-runner.ts'

type Say = (message: RunnerNews, work?: () => Promise<void>, session?: string) => Promise<boolean>

/** `say` answers whether the message was taken; each is heard by a memory that knows nothing unless `stay` is called. */
function withOrder(work: (say: Say, assigned: AssignedTable, stay: () => void) => Promise<void>): Promise<void> {
  const stub = env.RUNNERS.get(env.RUNNERS.idFromName(newRunnerId()))
  return runInDurableObject(stub, async (_object, { storage }) => {
    const assigned = new AssignedTable(storage.sql)
    assigned.put({ sandbox: 'a', generation: 1, confirmed: true, since: 0, told: 'running' })
    let kept: Order | undefined
    const say: Say = async (message, what = async () => undefined, session = 's') => {
      let isTaken = false
      await (kept ?? new Order(storage.kv, assigned)).take(session, message, async () => {
        isTaken = true
        await what()
      })
      return isTaken
    }
    await work(say, assigned, () => {
      kept = new Order(storage.kv, assigned)
    })
  })
}

const status = (sequence?: number) => ({ op: 'runner.status', sequence }) as RunnerStatus
const event = (state: SandboxState, sequence?: number, generation = 1) =>
  ({ op: 'sandbox.event', sandbox: 'a', generation, state, sequence }) as const
const fails = async () => {
  throw new Error('cannot: full')
}

describe('a status', () => {
  test('is taken unless a later one was', () =>
    withOrder(async (say) => {
      expect(await say(status(2))).toBe(true)
      expect(await say(status(1))).toBe(false)
      expect(await say(status(2))).toBe(false)
      expect(await say(status(3))).toBe(true)
    }))

  test('is taken after a later one that could not be, by whoever did not see that', () =>
    withOrder(async (say) => {
      await expect(say(status(2), fails)).rejects.toThrow('full')
      expect(await say(status(1))).toBe(true)
    }))

  test('is not taken while a later one is', () =>
    withOrder(async (say, _assigned, stay) => {
      stay()
      const pending = Promise.withResolvers<void>()
      const later = say(status(2), () => pending.promise)
      expect(await say(status(1))).toBe(false)
      pending.resolve()
      expect(await later).toBe(true)
    }))

  test('of another session is counted anew', () =>
    withOrder(async (say, assigned) => {
      await say(status(9))
      await say(event('hibernated', 10))
      expect(await say(status(1), undefined, 'other')).toBe(true)
      expect(assigned.get('a')?.heard).toBe(0)
    }))
})

describe('an event', () => {
  test('is taken once, unless it could not be; then again', () =>
    withOrder(async (say) => {
      await expect(say(event('hibernated', 1), fails)).rejects.toThrow('full')
      expect(await say(event('hibernated', 1))).toBe(true)
      expect(await say(event('hibernated', 1))).toBe(false)
    }))

  test('is overtaken by a later one of its sandbox, taken or about to be', () =>
    withOrder(async (say, _assigned, stay) => {
      stay()
      const pending = Promise.withResolvers<void>()
      const later = say(event('running', 2), () => pending.promise)
      expect(await say(event('hibernated', 1))).toBe(false)
      pending.resolve()
      await later
      stay()
      expect(await say(event('hibernated', 1))).toBe(false)
    }))

  test('is overtaken by a later status only if that told otherwise', () =>
    withOrder(async (say, assigned) => {
      await say(status(5))
      expect(await say(event('running', 1))).toBe(true)
      expect(await say(event('hibernated', 2))).toBe(false)
      assigned.tell('a', 1, null)
      expect(await say(event('hibernated', 3))).toBe(true)
      expect(await say(event('hibernated', 6))).toBe(true)
    }))

  test.each(['error', 'destroyed'] as const)('%s is the last word, whatever a status said', (state) =>
    withOrder(async (say) => {
      await say(status(5))
      expect(await say(event(state, 4))).toBe(true)
    }),
  )

  test('of another generation, or of a sandbox that is not known here, is left to the sandbox', () =>
    withOrder(async (say, assigned) => {
      await say(status(5))
      expect(await say(event('hibernated', 1, 2))).toBe(true)
      assigned.remove('a', 1)
      expect(await say(event('hibernated', 1))).toBe(true)
    }))
})

test('what has no sequence is always taken', () =>
  withOrder(async (say) => {
    await say(status(5))
    await say(event('running', 6))
    expect(await say(status())).toBe(true)
    expect(await say(event('hibernated'))).toBe(true)
  }))

describe('through the API', () => {
  const scene = new RunnerScene()

  test('what was stuck on one socket changes nothing that was told over the other, also after an eviction', async () => {
    const session = newSession()
    const [stuck, well] = [
      await ScriptedRunner.connect(scene.enrolled, {}, { session, socket: '0/2' }),
      await ScriptedRunner.connect(scene.enrolled, {}, { session, socket: '1/2' }),
    ]
    await well.report({ sequence: 1 })
    const { id } = await scene.created()
    const sandboxes = (state: SandboxState) => [{ sandbox: id, generation: 1, state }]
    const slept = {
      op: 'sandbox.event',
      sandbox: id,
      generation: 1,
      state: 'hibernated',
      usage: someUsage,
      sequence: 2,
    }
    await well.tell(slept)
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
    await stuck.report({ sequence: 1, sandboxes: sandboxes('running') })
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
    expect((await scene.post(`${id}/resume`)).status).toBe(200)
    await well.report({ sequence: 4, sandboxes: sandboxes('running') })
    await evictAllDurableObjects()
    await stuck.tell(slept)
    await stuck.tell({ ...slept, sequence: 3 })
    await stuck.report({ sequence: 3, sandboxes: [] })
    expect(await scene.record(id)).toMatchObject({ status: 'running' })
    await well.tell({ ...slept, sequence: 5 })
    expect(await scene.record(id)).toMatchObject({ status: 'hibernated' })
  })

  test('a runner of 5,000 sandboxes reports them all, and stays in use', async () => {
    const runner = await scene.connected()
    const sandboxes = Array.from({ length: 5000 }, () => ({
      sandbox: newSandboxId(),
      generation: 1,
      state: 'hibernated' as SandboxState,
    }))
    const stub = env.RUNNERS.get(env.RUNNERS.idFromName(runner.id))
    await runInDurableObject(stub, (_object, { storage }) => {
      const assigned = new AssignedTable(storage.sql)
      for (const { sandbox } of sandboxes)
        assigned.put({ sandbox, generation: 1, confirmed: true, since: 0, told: 'hibernated' })
    })
    await runner.report({ sandboxes, sequence: 1 })
    const info = () => answer(`/admin/runners/${runner.id}`, { key: adminKey })
    expect(await info()).toMatchObject({ connected: true, sandboxes: 5000 })
    expect(runner.calls).toEqual([])
    await runner.report({ sandboxes: sandboxes.slice(1), sequence: 2 })
    expect(await info()).toMatchObject({ sandboxes: 4999 })
    expect(runner.calls).toMatchObject([{ op: 'sandbox.stats', sandbox: sandboxes[0]?.sandbox }])
    expect(await objectsOf(env).runner(runner.id).holds()).toEqual({ running: 0, hibernated: 4999 })
  })

  test('a list that is none is refused and changes nothing', async () => {
    const runner = await scene.connected()
    const { sandboxes: _none, ...figures } = runner.status
    const none = runner.tell({ ...figures, body: 'sandboxes' }, new TextEncoder().encode('{}'))
    await expect(none).rejects.toMatchObject({ code: 'protocol_error' })
    await expect(runner.tell(figures)).rejects.toMatchObject({ code: 'protocol_error' })
    expect((await scene.created()).status).toBe('running')
  })

  test('a runner that claims more room than any host has is not heard', async () => {
    const runner = await scene.connected()
    await expect(runner.report({ free_mem_mib: 1e9 })).rejects.toMatchObject({ code: 'protocol_error' })
  })

  test('a runner that was not there for a create is not tried for the next', async () => {
    // Its first session reported; the second went before it did, so that nothing told the region of the end.
    const [first, session] = [await scene.connected(), newSession()]
    const other = await ScriptedRunner.connect(await enrol(), {})
    await other.report({ free_mem_mib: 600 })
    const silent = await ScriptedRunner.connect(scene.enrolled, {}, { session, socket: '0/1' })
    silent.cut()
    await expect.poll(() => objectsOf(env).runner(first.id).tunnel()).toBeNull()
    const info = () => answer(`/admin/runners/${first.id}`, { key: adminKey })
    expect((await scene.created()).status).toBe('running')
    await expect.poll(info).toMatchObject({ connected: false })
  })
})
