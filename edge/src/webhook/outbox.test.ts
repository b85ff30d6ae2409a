import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { type WebhookEvent, webhookEvents } from '@portico/shared/api'
import { FakeClock } from '@portico/shared/clock'
import { describe, expect, test } from 'vitest'
import { usage } from '../../test/sandbox-world.ts'
import type { IndexEntry } from '../ports.ts'
import { DeliveryTable } from '../store/deliveries.ts'
import { accountSchema, migrate } from '../store/migrations.ts'
import { WebhookTable } from '../store/webhooks.ts'
import { signature } from './attempt.ts'
import { mostLogged, Outbox } from './outbox.ts'

interface Received {
  readonly url: string
  readonly init: RequestInit
  readonly body: { id: string; event: string; created_at: string; sandbox: Record<string, unknown> }
}

/** An outbox on the storage of an object of its own, a receiver that a test answers for, and a clock that stands still. */
class Scene {
  readonly clock = new FakeClock(1_800_000_000_000)
  readonly received: Received[] = []
  answer: (received: Received) => Response | Promise<Response> = () => new Response(null, { status: 204 })
  readonly webhooks: WebhookTable
  readonly deliveries: DeliveryTable
  readonly #sql: SqlStorage
  outbox: Outbox

  constructor(storage: DurableObjectStorage) {
    migrate(storage, accountSchema)
    this.#sql = storage.sql
    this.webhooks = new WebhookTable(storage.sql)
    this.deliveries = new DeliveryTable(storage.sql)
    this.outbox = this.wakeUp()
  }

  /** The same after the loss of memory. */
  wakeUp(): Outbox {
    const send = async (url: string, init: RequestInit) => {
      const received = { url, init, body: JSON.parse(String(init.body)) as Received['body'] }
      this.received.push(received)
      return this.answer(received)
    }
    const tables = { webhooks: new WebhookTable(this.#sql), deliveries: new DeliveryTable(this.#sql) }
    this.outbox = new Outbox({ ...tables, clock: this.clock, rates: { vcpuHour: 2.5, gibHour: 1.5 }, send })
    return this.outbox
  }

  hook(id = 'hook1', events: readonly WebhookEvent[] = webhookEvents): void {
    this.webhooks.add({ id, url: `http://${id}.test/x`, events, secret: `whsec_${id}`, createdAt: this.clock.now() })
  }

  /** What a sandbox's object tells: these events, each of a version of its own, after `since`. */
  entry(sandbox: string, since: number, ...events: WebhookEvent[]): IndexEntry {
    const happenings = events.map((event, at) => ({ version: since + at + 1, event, at: this.clock.now() }))
    const record = { id: sandbox, status: 'running', vcpus: 1, mem_mib: 1024 } as unknown as IndexEntry['record']
    const ended = { usage: { ...usage, uptime_ms: 3_600_000 }, runningSince: null, createdAt: 0, endedAt: null }
    return { version: since + events.length, state: 'running', record, happenings, ...ended }
  }

  told(): string[] {
    return this.received.map(({ body }) => `${String(body.sandbox.id)} ${body.event.slice('sandbox.'.length)}`)
  }

  async later(ms: number): Promise<void> {
    await this.clock.advance(ms)
    await this.outbox.send()
  }
}

function within(work: (scene: Scene) => Promise<void>): () => Promise<void> {
  const object = env.ACCOUNTS.get(env.ACCOUNTS.newUniqueId())
  return () => runInDurableObject(object, (_object, { storage }) => work(new Scene(storage)))
}

describe('a delivery', () => {
  test(
    'is signed, names itself, and holds the sandbox as the event left it',
    within(async (scene) => {
      scene.hook()
      scene.outbox.take(scene.entry('run1', 0, 'sandbox.created', 'sandbox.running', 'sandbox.destroyed'), 0)
      await scene.outbox.send()
      expect(scene.told()).toEqual(['run1 created', 'run1 running', 'run1 destroyed'])
      expect(scene.received.map(({ body }) => body.sandbox.status)).toEqual(['creating', 'running', 'destroyed'])
      const [first, , last] = scene.received
      const headers = first?.init.headers as Record<string, string>
      expect(headers).toMatchObject({ 'portico-event': 'sandbox.created', 'portico-delivery': first?.body.id })
      expect(headers['portico-timestamp']).toBe('1800000000')
      const body = String(first?.init.body)
      expect(headers['portico-signature']).toBe(await signature('whsec_hook1', '1800000000', body))
      expect(headers['portico-signature']).toMatch(/^v1=[0-9a-f]{64}$/)
      expect(first?.init).toMatchObject({ method: 'POST', redirect: 'manual' })
      expect(last?.body.sandbox.usage).toMatchObject({ uptime_ms: 3_600_000, cost_cents: 4 })
    }),
  )

  test(
    'is of what a webhook asked for, and of what is new',
    within(async (scene) => {
      scene.hook('one', ['sandbox.destroyed'])
      scene.hook('two')
      const entry = scene.entry('run1', 0, 'sandbox.created', 'sandbox.running', 'sandbox.destroyed')
      expect(scene.outbox.take(entry, 1)).toBe(3)
      expect(scene.outbox.take(entry, 3)).toBe(0)
      await scene.outbox.send()
      const of = (hook: string) => scene.received.filter(({ url }) => url.includes(hook)).map(({ body }) => body.event)
      expect(of('one')).toEqual(['sandbox.destroyed'])
      expect(of('two')).toEqual(['sandbox.running', 'sandbox.destroyed'])
    }),
  )

  test(
    'that fails comes again, later and later under the same id, and is given up after a day',
    within(async (scene) => {
      scene.hook()
      scene.answer = () => new Response('no', { status: 500 })
      scene.outbox.take(scene.entry('run1', 0, 'sandbox.created'), 0)
      await scene.outbox.send()
      const start = scene.clock.now()
      const times = [0]
      for (let at = scene.outbox.nextAt(); at !== undefined; at = scene.outbox.nextAt()) {
        await scene.later(at - scene.clock.now() - 1)
        expect(scene.received).toHaveLength(times.length)
        await scene.wakeUp().send()
        await scene.later(1)
        times.push((scene.clock.now() - start) / 1000)
      }
      expect(times.slice(0, 6)).toEqual([0, 5, 35, 155, 755, 4355])
      expect(times.at(-1)).toBeGreaterThan(23.5 * 3600)
      expect(times.at(-1)).toBeLessThan(24 * 3600)
      expect(new Set(scene.received.map(({ body }) => body.id)).size).toBe(1)
      const [row] = scene.deliveries.log('hook1', 10)
      expect(row).toMatchObject({ state: 'given_up', attempts: times.length, last_status: 500, next_at: null })
      expect(row?.last_error).toBe('the receiver answered 500')
    }),
  )

  test(
    'that is redirected or not received at all has failed',
    within(async (scene) => {
      scene.hook()
      scene.answer = () => Response.redirect('http://elsewhere.test/', 307)
      scene.outbox.take(scene.entry('run1', 0, 'sandbox.created'), 0)
      await scene.outbox.send()
      expect(scene.deliveries.log('hook1', 1)[0]).toMatchObject({ state: 'pending', last_status: 307 })
      scene.answer = () => Promise.reject(new TypeError('connection refused by 10.0.0.1'))
      await scene.later(5000)
      const [row] = scene.deliveries.log('hook1', 1)
      expect(row).toMatchObject({ attempts: 2, last_status: null, last_error: 'the receiver could not be reached' })
      expect(scene.received).toHaveLength(2)
    }),
  )

  test(
    'waits for the one before it of the same sandbox, and for no other; after a few attempts it waits no more',
    within(async (scene) => {
      scene.hook()
      scene.answer = ({ body }) => new Response(null, { status: body.event === 'sandbox.created' ? 503 : 200 })
      scene.outbox.take(scene.entry('run1', 0, 'sandbox.created', 'sandbox.running'), 0)
      scene.outbox.take(scene.entry('run2', 0, 'sandbox.running'), 0)
      await scene.outbox.send()
      expect(scene.told()).toEqual(['run1 created', 'run2 running'])
      await scene.later(5000)
      await scene.later(30_000)
      expect(scene.told().filter((name) => name === 'run1 running')).toEqual([])
      await scene.later(120_000)
      expect(scene.told().slice(-2)).toEqual(['run1 created', 'run1 running'])
    }),
  )

  test(
    'whose outcome was lost with the memory is made again',
    within(async (scene) => {
      scene.hook()
      scene.outbox.take(scene.entry('run1', 0, 'sandbox.created'), 0)
      scene.answer = () => new Promise(() => undefined)
      void scene.outbox.send()
      await expect.poll(() => scene.received.length).toBe(1)
      scene.answer = () => new Response()
      await scene.wakeUp().send()
      expect(scene.told()).toEqual(['run1 created', 'run1 created'])
      expect(scene.deliveries.log('hook1', 1)[0]).toMatchObject({ state: 'delivered' })
    }),
  )

  test(
    'of a webhook that was removed is dropped, and the log is bounded',
    within(async (scene) => {
      scene.hook()
      for (let turn = 0; turn < mostLogged + 20; turn++) {
        scene.outbox.take(scene.entry(`run${turn}`, 0, 'sandbox.created'), 0)
        if (turn % 500 === 0) await scene.outbox.send()
      }
      await scene.outbox.send()
      scene.outbox.take(scene.entry('last', 0, 'sandbox.created'), 0)
      const done = scene.deliveries.log('hook1', 5000).filter(({ state }) => state !== 'pending')
      expect(done).toHaveLength(mostLogged)
      scene.webhooks.remove('hook1')
      await scene.outbox.send()
      expect(scene.outbox.nextAt()).toBeUndefined()
      expect(scene.told()).not.toContain('last created')
    }),
  )

  test(
    'that nobody takes for long makes room for newer ones',
    within(async (scene) => {
      scene.hook()
      for (let turn = 0; turn < 5; turn++) scene.outbox.take(scene.entry(`run${turn}`, 0, 'sandbox.created'), 0)
      scene.deliveries.bound('hook1', { pending: 3, pendingOfAll: 10, done: mostLogged })
      const states = scene.deliveries.log('hook1', 10).map(({ state }) => state)
      expect(states).toEqual(['pending', 'pending', 'pending', 'given_up', 'given_up'])
    }),
  )
})
