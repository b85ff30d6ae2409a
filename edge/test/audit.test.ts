/** The audit log of a sandbox: what gets in, who may read it, that it holds, and what is found when somebody changed it. */

import { evictAllDurableObjects, evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { AuditEntry, AuditKey } from '@portico/shared/api'
import { verifyAudit } from '@portico/shared/audit'
import { describe, expect, test } from 'vitest'
import { type AuditBounds, AuditLog } from '../src/audit/log.ts'
import { AuditEntries } from '../src/store/audit-entries.ts'
import { migrate, sandboxSchema } from '../src/store/migrations.ts'
import { answer, ask, newTenant, read } from './client.ts'
import { done } from './guest-scene.ts'
import { RunnerScene } from './runner-scene.ts'
import { guestAnswers, someUsage } from './scripted-runner.ts'

const scene = new RunnerScene({ 'guest.request': (_call, stream) => guestAnswers(stream, 200, done) })
const path = (id: string, query = '') => `/v1/runs/${id}/audit${query}`
const audit = (id: string, query = '') => ask(path(id, query), { key: scene.tenant.key })
const textOf = async (response: Response) => new TextDecoder().decode(await response.arrayBuffer())
const linesOf = async (response: Response) => (await textOf(response)).split('\n').filter((line) => line !== '')
const entriesOf = async (id: string, query = '') =>
  (await linesOf(await audit(id, query))).map((line) => JSON.parse(line) as AuditEntry)
const eventsOf = async (id: string, query = '') => (await entriesOf(id, query)).map(({ event }) => event)
const keyHex = async () => (await answer<AuditKey>('/v1/audit/key', { key: scene.tenant.key })).key
const exec = (id: string, json: object) => ask(`/v1/runs/${id}/exec`, { key: scene.tenant.key, json })

/** A log of its own with these bounds, and the events that it tells once its chain was verified. */
async function withLog(
  bounds: AuditBounds,
  work: (log: AuditLog, told: () => Promise<string[]>) => Promise<void>,
): Promise<void> {
  await runInDurableObject(env.SANDBOXES.get(env.SANDBOXES.newUniqueId()), async (_object, { storage }) => {
    migrate(storage, sandboxSchema)
    const key = 'ab'.repeat(32)
    const entries = new AuditEntries(storage.sql)
    const log = new AuditLog({ entries: () => entries, sandbox: () => 'run1', key: async () => key, bounds })
    await work(log, async () => {
      const { lines, entries, last } = await log.page(0)
      expect(await verifyAudit(lines, key)).toEqual({ ok: true, entries, last })
      return lines.map((line) => (JSON.parse(line) as AuditEntry).event)
    })
    await storage.deleteAll()
  })
}

describe('the log', () => {
  test('tells the whole life in order, without output or environment, and holds after the end', async () => {
    await scene.connected()
    const { id } = await scene.created({ env: { TOKEN: 'hidden' } })
    await (await exec(id, { command: ['echo', 'x'], env: { PASSWORD: 'hidden' } })).text()
    await expect.poll(() => eventsOf(id)).toHaveLength(3)
    await ask(`/v1/runs/${id}`, { method: 'PATCH', key: scene.tenant.key, json: { name: 'a name' } })
    await scene.post(`${id}/hibernate`)
    await scene.post(`${id}/resume`)
    await scene.post(`${id}/snapshot`)
    const { forks } = (await (await scene.post(`${id}/fork`, { count: 2 })).json()) as { forks: { id: string }[] }
    await ask(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
    await evictAllDurableObjects()
    const response = await audit(id)
    expect(response.headers.get('content-type')).toBe('application/x-ndjson')
    const lines = await linesOf(response)
    const entries = lines.map((line) => JSON.parse(line) as AuditEntry)
    expect(entries.map(({ event, data }) => [event, data])).toEqual([
      ['sandbox.created', { image: 'python', vcpus: 1, mem_mib: 512 }],
      ['exec.start', { command: ['echo', 'x'] }],
      ['exec.exit', { command: ['echo', 'x'], exit_code: 0, duration_ms: expect.any(Number) }],
      ['sandbox.updated', { name: 'a name' }],
      ['sandbox.hibernated', {}],
      ['sandbox.resumed', {}],
      ['sandbox.snapshot', { id: expect.stringMatching(/^snap/) }],
      ['sandbox.forked', { children: forks.map((fork) => fork.id) }],
      ['sandbox.destroyed', { usage: someUsage }],
    ])
    expect(lines.join()).not.toContain('hidden')
    const last = entries.at(-1)?.hmac
    expect(await verifyAudit(lines, await keyHex())).toEqual({ ok: true, entries: 9, last })
    expect(response.headers.get('portico-audit-last')).toBe(last)
    expect(response.headers.get('portico-audit-entries')).toBe('9')
    expect((await entriesOf(forks[0]?.id ?? ''))[0]?.data).toMatchObject({ forked_from: id })
  })

  test('has files and restores, and the start of a command that is still running', async () => {
    const finish = Promise.withResolvers<void>()
    await scene.connected({
      'guest.request': async (call, stream) => {
        if (call.method === 'PUT') return guestAnswers(stream, 200, { path: '/x', size: 5 })
        if (call.path.startsWith('/exec')) await finish.promise
        guestAnswers(stream, 200, { ...done, exit_code: 3 })
      },
    })
    const source = await scene.created()
    const { snapshot_id } = (await (await scene.post(`${source.id}/snapshot`)).json()) as { snapshot_id: string }
    const { id } = (await (await scene.post('restore', { snapshot_id })).json()) as { id: string }
    const at = (tail: string) => `/v1/runs/${id}/files/${tail}`
    await (await ask(at('upload?path=/x'), { key: scene.tenant.key, body: 'hello' })).text()
    await expect.poll(() => eventsOf(id)).toHaveLength(3)
    await textOf(await ask(at('download?path=/y'), { key: scene.tenant.key }))
    await expect.poll(() => eventsOf(id)).toHaveLength(4)
    const pending = exec(id, { command: 'sleep 1' })
    await expect.poll(() => eventsOf(id)).toContain('exec.start')
    finish.resolve()
    await (await pending).text()
    await expect.poll(() => eventsOf(id)).toHaveLength(6)
    expect((await entriesOf(id)).slice(1).map(({ event, data }) => [event, data])).toEqual([
      ['sandbox.restored', { snapshot_id }],
      ['file.uploaded', { path: '/x', bytes: 5 }],
      ['file.downloaded', { path: '/y' }],
      ['exec.start', { command: 'sleep 1' }],
      ['exec.exit', { command: 'sleep 1', exit_code: 3, duration_ms: expect.any(Number) }],
    ])
  })

  test('has the exit code of a command whose answer is long and comes through unharmed', async () => {
    const stdout = 'y'.repeat(3_000_000)
    await scene.connected({
      'guest.request': (_call, stream) => guestAnswers(stream, 200, { ...done, exit_code: -9, stdout }),
    })
    const { id } = await scene.created()
    expect(await (await exec(id, { command: 'yes' })).json()).toMatchObject({ stdout, exit_code: -9 })
    await expect.poll(async () => (await entriesOf(id)).at(-1)?.data).toMatchObject({ exit_code: -9 })
  })

  test('has a command whose call failed, and none that never reached the sandbox', async () => {
    await scene.connected({
      'guest.request': (_call, stream) => guestAnswers(stream, 500, { error: { code: 'x', message: 'cannot' } }),
    })
    const { id } = await scene.created()
    expect((await exec(id, { command: 'x' })).status).toBe(502)
    await expect.poll(() => eventsOf(id)).toEqual(['sandbox.created', 'exec.start', 'exec.exit'])
    const failed = { command: 'x', exit_code: null, error: 'guest_error', duration_ms: expect.any(Number) }
    expect((await entriesOf(id)).at(-1)?.data).toEqual(failed)
    await scene.post(`${id}/hibernate`)
    expect(await read(await exec(id, { command: 'y' }))).toMatchObject({ code: 'sandbox_hibernated' })
    await scene.post(`${id}/resume`)
    expect((await eventsOf(id)).slice(3)).toEqual(['sandbox.hibernated', 'sandbox.resumed'])
  })

  test('of somebody else, of another region, or of nobody is not there', async () => {
    await scene.connected()
    const { id } = await scene.created()
    for (const key of [(await newTenant()).key, (await newTenant('eu')).key]) {
      expect(await read(await ask(path(id), { key }))).toMatchObject({ status: 404, code: 'sandbox_not_found' })
    }
    const nobody = await read(await audit(`run${'a'.repeat(26)}`))
    expect(nobody).toMatchObject({ status: 404, code: 'sandbox_not_found' })
    expect(await read(await audit(id, '?from=-1'))).toMatchObject({ status: 400 })
  })

  test('is read from any place on, and in pages', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const object = env.SANDBOXES.get(env.SANDBOXES.idFromName(id)) as unknown as {
      note(caller: object, notes: object[]): Promise<unknown>
    }
    const caller = { account: scene.tenant.account, region: 'local' }
    const note = (n: number) => ({ event: 'exec.start', at: n, data: { command: 'x'.repeat(n % 3000) } })
    await object.note(
      caller,
      Array.from({ length: 1200 }, (_, n) => note(n)),
    )
    await evictDurableObject(env.SANDBOXES.get(env.SANDBOXES.idFromName(id)))
    const lines = await linesOf(await audit(id))
    expect(lines).toHaveLength(1201)
    expect(await verifyAudit(lines, await keyHex())).toMatchObject({ ok: true, entries: 1201 })
    expect(await linesOf(await audit(id, '?from=1199'))).toEqual(lines.slice(1199))
    expect(await linesOf(await audit(id, '?from=5000'))).toEqual([])
  })

  test('that somebody changed, shortened in the middle or put in another order where it is kept is found out', async () => {
    await scene.connected()
    const { id } = await scene.created()
    for (const command of ['a', 'b', 'c']) await (await exec(id, { command })).text()
    await expect.poll(() => eventsOf(id)).toHaveLength(7)
    const whole = await linesOf(await audit(id))
    const key = await keyHex()
    const object = env.SANDBOXES.get(env.SANDBOXES.idFromName(id))
    const tampered = async (...texts: string[]) => {
      await runInDurableObject(object, (_object, { storage }) => {
        for (const text of texts) storage.sql.exec(text)
      })
      return linesOf(await audit(id))
    }
    const edited = await tampered(`UPDATE audit SET data = '{"command":"harmless"}' WHERE seq = 3`)
    expect(await verifyAudit(edited, key)).toMatchObject({ ok: false, line: 4 })
    const dropped = await tampered('DELETE FROM audit WHERE seq = 3')
    expect(await verifyAudit(dropped, key)).toMatchObject({ ok: false, line: 4 })
    const closed = await tampered('UPDATE audit SET seq = seq - 1 WHERE seq > 3')
    expect(await verifyAudit(closed, key)).toMatchObject({ ok: false, line: 4 })
    const swapped = whole.toSpliced(4, 2, whole[5] ?? '', whole[4] ?? '')
    expect(await verifyAudit(swapped, key)).toMatchObject({ ok: false, line: 5 })
    const cut = await verifyAudit(whole.slice(0, -1), key)
    expect(cut).toMatchObject({ ok: true })
    expect(cut).not.toMatchObject({ last: (JSON.parse(whole.at(-1) ?? '') as AuditEntry).hmac })
  })

  test('is sealed with a key that outlives the secret that it came from', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const key = await keyHex()
    expect(key).toMatch(/^[0-9a-f]{64}$/)
    await evictDurableObject(env.ACCOUNTS.get(env.ACCOUNTS.idFromName(scene.tenant.account)))
    expect(await keyHex()).toBe(key)
    expect(await verifyAudit(await linesOf(await audit(id)), key)).toMatchObject({ ok: true, entries: 1 })
    const other = await newTenant()
    expect((await answer<AuditKey>('/v1/audit/key', { key: other.key })).key).not.toBe(key)
  })

  test('that calls have filled says so once, and goes on with what happens to the sandbox, to the end', async () => {
    const events = (n: number, event: string) => Array.from({ length: n }, (_, at) => ({ event, at, data: { at } }))
    const exec = events(1, 'exec.start')
    const bounds = { most: { entries: 6, bytes: 1000 }, reserve: { entries: 3, bytes: 100 } }
    await withLog(bounds, async (log, told) => {
      log.add(events(1, 'sandbox.created'))
      log.addCalls([...exec, ...exec, ...exec])
      log.addCalls(exec)
      log.add(events(1, 'sandbox.updated'))
      log.addCalls(exec)
      log.add(events(3, 'sandbox.updated'))
      log.add(events(1, 'sandbox.destroyed'))
      log.addCalls(exec)
      const life = ['sandbox.updated', 'sandbox.updated', 'sandbox.destroyed']
      expect(await told()).toEqual(['sandbox.created', 'exec.start', 'exec.start', 'audit.full', ...life])
    })
  })

  test('whose bytes one call would take has none of that call, and the reserve for the life of the sandbox', async () => {
    const note = (event: string, bytes: number) => [{ event, at: 0, data: { x: 'x'.repeat(bytes) } }]
    await withLog({ most: { entries: 100, bytes: 1000 }, reserve: { entries: 10, bytes: 200 } }, async (log, told) => {
      log.addCalls([...note('exec.start', 700), ...note('exec.exit', 700), ...note('exec.start', 1)])
      log.addCalls(note('exec.start', 1))
      log.add(note('sandbox.hibernated', 150))
      log.add(note('sandbox.resumed', 150))
      log.add(note('sandbox.lost', 150))
      expect(await told()).toEqual(['exec.start', 'audit.full', 'sandbox.hibernated', 'sandbox.lost'])
    })
  })

  test('that the life of the sandbox alone has filled says so once, too', async () => {
    const note = (at: number) => ({ event: 'sandbox.resumed', at, data: {} })
    await withLog({ most: { entries: 2, bytes: 1000 }, reserve: { entries: 1, bytes: 10 } }, async (log, told) => {
      log.add([note(0), note(1), note(2)])
      log.add([note(3)])
      expect(await told()).toEqual(['sandbox.resumed', 'sandbox.resumed', 'audit.full'])
    })
  })

  test('of 99,000 entries has no room for calls, and still tells the end', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const object = env.SANDBOXES.get(env.SANDBOXES.idFromName(id))
    await runInDurableObject(object, (_object, { storage }) => {
      storage.sql.exec(
        `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 98999)
         INSERT INTO audit (seq, at, event, data, total, hmac) SELECT i, 0, 'exec.start', '{}', 2 * i, 'x' FROM n`,
      )
    })
    await (await exec(id, { command: 'one too many' })).text()
    const newest = () => eventsOf(id, '?from=99000')
    await expect.poll(newest).toEqual(['audit.full'])
    await (await exec(id, { command: 'and another' })).text()
    await ask(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
    await expect.poll(newest).toEqual(['audit.full', 'sandbox.destroyed'])
  })

  test('that lost its memory before it was sealed is sealed when it is read', async () => {
    await scene.connected()
    const { id } = await scene.created()
    await evictDurableObject(env.SANDBOXES.get(env.SANDBOXES.idFromName(id)))
    await runInDurableObject(env.SANDBOXES.get(env.SANDBOXES.idFromName(id)), (_object, { storage }) => {
      storage.sql.exec('UPDATE audit SET hmac = NULL')
    })
    expect(await verifyAudit(await linesOf(await audit(id)), await keyHex())).toMatchObject({ ok: true, entries: 1 })
  })
})
