/** What is the account's: marks and lists, usage, history, audit logs, webhooks. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WireServer } from '../test/wire-server.ts'
import { ConflictError, NotFoundError, Portico, ValidationError, verifyAudit } from './index.ts'

let wire: WireServer
let portico: Portico

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = []
  for await (const item of items) found.push(item)
  return found
}

describe('name and labels', () => {
  it('are given to what is created, and inherited as the platform says', async () => {
    const sandbox = await portico.create({ name: 'build', labels: { team: 'red' } })
    expect(sandbox).toMatchObject({ name: 'build', labels: { team: 'red' } })
    const { children } = await sandbox.fork()
    expect(children).toMatchObject([{ name: undefined, labels: { team: 'red' } }])
    const { id } = await sandbox.snapshot()
    expect(await portico.restore(id, { name: 'again', labels: {} })).toMatchObject({ name: 'again', labels: {} })
  })

  it('are changed on the platform and in the handle, and what is left out stays', async () => {
    const sandbox = await portico.create({ name: 'build', labels: { team: 'red' } })
    await sandbox.update({ labels: { team: 'blue' }, timeoutSec: 60 })
    const changed = { name: 'build', labels: { team: 'blue' }, timeoutSec: 60 }
    expect([sandbox, await portico.get(sandbox.id)]).toMatchObject([changed, changed])
    await sandbox.update({ name: null })
    expect([sandbox.name, sandbox.labels]).toEqual([undefined, { team: 'blue' }])
  })

  it('are changed by options that exist', async () => {
    const sandbox = await portico.create()
    const slip = { timeoutSec: 1, lables: {} }
    await expect(sandbox.update(slip)).rejects.toBeInstanceOf(ValidationError)
  })
})

describe('a list', () => {
  it('has what fits all that is asked for', async () => {
    const [red, blue] = [
      await portico.create({ labels: { team: 'red', a: 'b:c' } }),
      await portico.create({ name: 'b' }),
    ]
    await blue.hibernate()
    const ids = async (...[options]: Parameters<Portico['list']>) => (await portico.list(options)).map(({ id }) => id)
    expect(await ids({ labels: { team: 'red', a: 'b:c' } })).toEqual([red.id])
    expect(await ids({ labels: { team: 'red', a: 'b' } })).toEqual([])
    expect(await ids({ state: 'hibernated' })).toEqual([blue.id])
    expect(await ids({ state: [] })).toEqual([])
    expect(await ids({ state: ['running', 'hibernated'] })).toEqual([blue.id, red.id])
    expect(await ids({ name: 'b' })).toEqual([blue.id])
    expect(await ids({ name: 'b', state: 'running' })).toEqual([])
    expect(await ids({ region: 'elsewhere' })).toEqual([])
  })

  it('follows the pages to their end', async () => {
    wire.account.pageSize = 2
    const made: string[] = []
    for (let count = 0; count < 5; count++) made.unshift((await portico.create({ labels: { a: 'b' } })).id)
    expect((await portico.list({ labels: { a: 'b' } })).map(({ id }) => id)).toEqual(made)
    const pages = wire.requests.filter(({ method }) => method === 'GET').map(({ query }) => query.toString())
    expect(pages).toEqual(['label=a%3Ab', 'label=a%3Ab&cursor=2', 'label=a%3Ab&cursor=4'])
  })
})

describe('usage and history', () => {
  it('tell what the account has used', async () => {
    await portico.create()
    await (await portico.create()).destroy()
    expect(await portico.usage()).toEqual({
      activeSandboxes: 1,
      historySandboxes: 1,
      activeCostCents: 1.5,
      historyCostCents: 0.0016,
      totalCostCents: 1.5016,
      cpuSeconds: 2.5,
      memGibSeconds: 90,
      asOf: new Date('2026-01-02T03:04:05Z'),
    })
  })

  it('tell of what is over, newest first, a page at a time and no more than is read', async () => {
    const ended: string[] = []
    for (let count = 0; count < 5; count++) {
      const sandbox = await portico.create({ image: 'python', name: `n${count}` })
      await sandbox.destroy()
      ended.unshift(sandbox.id)
    }
    const found = await all(portico.history({ pageSize: 2 }))
    expect(found.map(({ id }) => id)).toEqual(ended)
    expect(found[0]).toMatchObject({
      status: 'destroyed',
      name: 'n4',
      image: 'python',
      uptimeMs: 1500,
      costCents: 0.0016,
    })
    expect(found[0]?.destroyedAt).toBeInstanceOf(Date)
    const asked = wire.count('GET /v1/runs/history')
    for await (const { id } of portico.history({ pageSize: 2 })) if (id === ended[1]) break
    expect([asked, wire.count('GET /v1/runs/history')]).toEqual([3, 4])
  })
})

describe('an audit log', () => {
  it('is read entry by entry, also when the sandbox is over', async () => {
    const sandbox = await portico.create({ image: 'python' })
    expect(await all(sandbox.audit())).toMatchObject([
      { seq: 0, sandboxId: sandbox.id, event: 'sandbox.created', data: { image: 'python', vcpus: 1 } },
    ])
    await sandbox.destroy()
    const entries = await all(portico.audit(sandbox.id, { from: 1 }))
    expect(entries).toMatchObject([{ seq: 1, event: 'sandbox.destroyed', at: expect.any(Date) }])
    await expect(all(portico.audit('runaaaa'))).rejects.toBeInstanceOf(NotFoundError)
  })

  it('holds, and shows where it was touched', async () => {
    const sandbox = await portico.create({ image: 'python' })
    await sandbox.destroy()
    const lines = await all(portico.auditLines(sandbox.id))
    const key = await portico.auditKey()
    const last = wire.account.audits.get(sandbox.id)?.at(-1)?.hmac
    expect(await verifyAudit(lines, key)).toEqual({ ok: true, entries: 2, last })
    expect(await verifyAudit(portico.auditLines(sandbox.id), key)).toMatchObject({ ok: true })
    const touched = lines.map((line) => line.replace('python', 'node'))
    expect(await verifyAudit(touched, key)).toMatchObject({ ok: false, line: 1 })
    expect(await verifyAudit(lines.slice(1), key)).toMatchObject({ ok: false, line: 1 })
    await expect(verifyAudit(lines, 'abc')).rejects.toBeInstanceOf(ValidationError)
  })

  it('comes whole however its bytes are cut', async () => {
    const sandbox = await portico.create()
    for (let count = 0; count < 3; count++) wire.account.note(sandbox.id, 'ö', { text: 'ü'.repeat(50) })
    const whole = await all(portico.auditLines(sandbox.id))
    wire.intercept('GET /v1/runs/*', async (_seen, response) => {
      for (const byte of Buffer.from(whole.join('\n'))) {
        if (!response.write(Buffer.of(byte))) await new Promise((drained) => response.once('drain', drained))
      }
      response.end()
    })
    expect(await all(portico.auditLines(sandbox.id))).toEqual(whole)
  })

  it('ends its request when nobody reads on', async () => {
    const arrived = wire.arrival('GET /v1/runs/*')
    wire.intercept('GET /v1/runs/*', (seen, response) => {
      response.write('one\ntwo\n')
      return seen.abandoned
    })
    for await (const line of portico.auditLines('runaaaa')) {
      expect(line).toBe('one')
      break
    }
    await (await arrived).abandoned
  })

  it('with a line that is no entry is an error', async () => {
    wire.intercept('GET /v1/runs/*', (_seen, response) => response.end('{"seq":0}\n'))
    await expect(all(portico.audit('runaaaa'))).rejects.toMatchObject({ code: 'protocol_error' })
  })
})

describe('webhooks', () => {
  it('are made, found, listed and removed; the secret is told once', async () => {
    const { webhooks } = portico
    const made = await webhooks.create({ url: 'https://hook.example/a', events: ['sandbox.created'] })
    const { secret, ...info } = made
    expect(secret).toBe('the-secret')
    expect(info).toMatchObject({
      url: 'https://hook.example/a',
      events: ['sandbox.created'],
      createdAt: expect.any(Date),
    })
    expect(await webhooks.get(made.id)).toEqual(info)
    expect(await webhooks.list()).toEqual([info])
    await webhooks.delete(made.id)
    await expect(webhooks.get(made.id)).rejects.toBeInstanceOf(NotFoundError)
  })

  it('tell how their deliveries went', async () => {
    const { id } = await portico.webhooks.create({ url: 'https://hook.example/a' })
    const about = { event: 'sandbox.created', sandbox_id: 'runaaaa', created_at: '2026-01-02T03:04:05Z' }
    const failing = { state: 'pending', attempts: 2, last_status: 500, last_error: 'status 500' } as const
    wire.account.deliveries = [{ id: 'd1', ...about, ...failing, next_attempt_at: '2026-01-02T03:05:05Z' }]
    expect(await portico.webhooks.deliveries(id)).toEqual([
      {
        id: 'd1',
        event: 'sandbox.created',
        sandboxId: 'runaaaa',
        state: 'pending',
        attempts: 2,
        lastStatus: 500,
        lastError: 'status 500',
        createdAt: new Date('2026-01-02T03:04:05Z'),
        nextAttemptAt: new Date('2026-01-02T03:05:05Z'),
      },
    ])
  })
})

describe('a sandbox whose runner is away', () => {
  it('is shown as such, and one that was lost is gone', async () => {
    const sandbox = await portico.create()
    const stored = wire.sandboxes.get(sandbox.id)
    if (stored) stored.record = { ...stored.record, status: 'unreachable' }
    expect(await sandbox.info()).toMatchObject({ status: 'unreachable' })
    wire.fail('POST /v1/runs/*', 'sandbox_lost')
    const error = await sandbox.exec('x').catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(NotFoundError)
    expect(error).not.toBeInstanceOf(ConflictError)
    expect(error).toMatchObject({ code: 'sandbox_lost', status: 410 })
  })
})
