/** What the engine bounds, and in which order it answers: on a real database, with functions and sockets of the test. */

import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { FakeClock } from '@portico/shared/clock'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { servicesOf } from '../app.ts'
import type { KeyRecord, Objects } from '../ports.ts'
import { IiiStore, iiiSchema } from '../store/iii.ts'
import { migrate } from '../store/migrations.ts'
import { contextOf } from './context-of.ts'
import { Engine, type WorkerSocket } from './engine.ts'
import { ExecLocks } from './exec-locks.ts'
import { type IiiFunction, iiiFunction } from './functions.ts'
import { WorkerKeys } from './keys.ts'

const good: KeyRecord = { hash: '', revoked: false, scope: 'full', expiresAt: null, requestsPerSecond: null }
const join = { caller: { account: 'a'.repeat(26), region: 'local' }, key: 'a'.repeat(36) }

interface Answer {
  readonly type: string
  readonly invocation_id: string
  readonly result?: unknown
  readonly error?: { readonly code: string; readonly message: string }
}

class World {
  readonly clock = new FakeClock(1_000_000)
  readonly sockets: WorkerSocket[] = []
  readonly answers: Answer[] = []
  readonly closed: number[] = []
  readonly going: (() => void)[] = []
  readonly wakes: number[] = []
  readonly #work: Promise<void>[] = []
  readonly #store: IiiStore

  constructor(sql: SqlStorage) {
    this.#store = new IiiStore(sql)
  }

  /** An engine on the same database, as after an eviction: what another one had in memory it does not have. */
  engine(functions: readonly IiiFunction[] = this.functions()): Engine {
    const { clock } = this
    const objects = { account: () => ({ key: async () => good }) } as unknown as Objects
    const services = servicesOf(clock)
    return new Engine({
      store: this.#store,
      functions: new Map(functions.map((one) => [one.id, one])),
      keys: new WorkerKeys(clock, objects),
      requests: services.requests,
      objects,
      clock,
      sockets: (worker) => this.sockets.filter(({ note }) => note.worker === worker),
      count: () => this.sockets.length,
      context: (origin) => contextOf({ env, objects, services, locks: new ExecLocks() }, origin),
      background: (work) => void this.#work.push(work),
      wakeAt: (at) => void this.wakes.push(at),
    })
  }

  /** One that answers when the test says so, and one that tells how it is after an interruption. */
  functions(): IiiFunction[] {
    const handle = () => new Promise<string>((resolve) => this.going.push(() => resolve('done')))
    return [
      iiiFunction({ id: 'test::wait', needs: 'read', schema: z.unknown(), handle }),
      iiiFunction({
        id: 'test::make',
        needs: 'read',
        schema: z.unknown(),
        handle: (_payload, context) => {
          context.makes('the sandbox')
          return handle()
        },
        interrupted: async (sandbox) => ({ made: sandbox }),
      }),
    ]
  }

  async worker(engine: Engine): Promise<WorkerSocket> {
    const { note } = await engine.admit(join)
    const socket: WorkerSocket = {
      note,
      send: (frame) => void this.answers.push(JSON.parse(frame) as Answer),
      close: (code) => void this.closed.push(code),
    }
    this.sockets.push(socket)
    return socket
  }

  /** Until everything that goes on waits for the test. */
  async settled(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
  }

  async finished(): Promise<void> {
    for (const go of this.going.splice(0)) go()
    await Promise.all(this.#work.splice(0))
  }
}

function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  return runInDurableObject(env.III.get(env.III.newUniqueId()), async (_object, { storage }) => {
    migrate(storage, iiiSchema)
    await work(new World(storage.sql))
    await storage.deleteAll()
  })
}

const invoke = (id: string, function_id = 'test::wait', data: unknown = {}) =>
  JSON.stringify({ type: 'invokefunction', invocation_id: id, function_id, data })

describe('a worker', () => {
  test('has 64 invocations under way, and may begin another when one is over', () =>
    inWorld(async (world) => {
      const engine = world.engine()
      const [busy, other] = [await world.worker(engine), await world.worker(engine)]
      for (let at = 0; at < 66; at++) engine.message(busy, invoke(`${at}`))
      await world.settled()
      expect(world.answers.map(({ invocation_id, error }) => [invocation_id, error?.code])).toEqual([
        ['64', 'overloaded'],
        ['65', 'overloaded'],
      ])
      engine.message(other, invoke('mine'))
      await world.settled()
      expect(world.going).toHaveLength(65)
      await world.finished()
      engine.message(busy, invoke('64'))
      await world.settled()
      expect(world.going).toHaveLength(1)
      await world.finished()
      expect(world.answers.filter(({ result }) => result === 'done')).toHaveLength(66)
    }))

  test('and all others have frames of 17 Mi characters under way: one of the longest at a time', () =>
    inWorld(async (world) => {
      const engine = world.engine()
      const socket = await world.worker(engine)
      const large = 'x'.repeat(16_000_000)
      for (const id of ['a', 'd']) engine.message(socket, invoke(id, 'test::wait', large))
      await world.settled()
      expect(world.answers.map(({ invocation_id, error }) => [invocation_id, error?.code])).toEqual([
        ['d', 'overloaded'],
      ])
      await world.finished()
    }))

  test('whose frame is too long is shown out', () =>
    inWorld(async (world) => {
      const engine = world.engine()
      engine.message(await world.worker(engine), 'x'.repeat(16_777_217))
      expect(world.closed).toEqual([1009])
    }))

  test('is not let in where there are 512', () =>
    inWorld(async (world) => {
      const engine = world.engine()
      const socket = await world.worker(engine)
      for (let count = 1; count < 512; count++) world.sockets.push(socket)
      await expect(engine.admit(join)).rejects.toMatchObject({ code: 'overloaded' })
    }))
})

describe('an engine that woke', () => {
  test('answers all that was under way, each as its function says, and once', () =>
    inWorld(async (world) => {
      const first = world.engine()
      const socket = await world.worker(first)
      first.message(socket, invoke('a'))
      first.message(socket, invoke('b', 'test::make'))
      first.message(socket, invoke('c', 'test::gone'))
      await world.settled()
      expect(world.answers.splice(0)).toMatchObject([{ invocation_id: 'c', error: { code: 'function_not_found' } }])
      const second = world.engine()
      second.recover()
      await world.settled()
      await world.settled()
      expect(world.answers.splice(0)).toMatchObject([
        { invocation_id: 'a', error: { code: 'handler error' } },
        { invocation_id: 'b', result: { made: 'the sandbox' } },
      ])
      world.engine().recover()
      await world.settled()
      expect(world.answers).toEqual([])
    }))

  test('ends what is never answered as its function says, and sends nothing', () =>
    inWorld(async (world) => {
      const ended: (string | null)[] = []
      const [, make] = world.functions()
      const silent = {
        ...(make as IiiFunction),
        interrupted: async (sandbox: string | null) => void ended.push(sandbox),
      }
      const first = world.engine([silent])
      const socket = await world.worker(first)
      first.message(socket, JSON.stringify({ type: 'invokefunction', function_id: 'test::make', data: {} }))
      await world.settled()
      for (let times = 0; times < 2; times++) {
        world.engine([silent]).recover()
        await world.settled()
        await world.settled()
      }
      expect([ended, world.answers]).toEqual([['the sandbox'], []])
    }))

  test('has stood ready to wake for as long as something was under way', () =>
    inWorld(async (world) => {
      const engine = world.engine()
      const socket = await world.worker(engine)
      engine.message(socket, invoke('a'))
      await world.settled()
      expect(engine.next()).toBe(world.clock.now() + 10_000)
      expect(world.wakes).toContain(world.clock.now() + 10_000)
      await world.finished()
      expect(engine.next()).toBe(world.clock.now() + 900_000)
    }))
})
