import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WireServer } from '../test/wire-server.ts'
import { type JsonValue, Portico, type SandboxStore, ValidationError } from './index.ts'

let wire: WireServer
let portico: Portico
let store: SandboxStore

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  store = (await portico.create({ image: 'python' })).store
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

describe('the store', () => {
  it.each<[string, JsonValue]>([
    ['a list', [1, 'two', null, { three: true }]],
    ['text', 'ö'],
    ['null', null],
    ['false', false],
  ])('keeps %s', async (_what, value) => {
    await store.set('a', value)
    expect(await store.get('a')).toEqual({ value, expiresAt: null })
  })

  it('keeps a value for so long', async () => {
    await store.set('a', 1, { ttl: 60 })
    expect(await store.get('a')).toEqual({ value: 1, expiresAt: new Date('2026-01-01T00:01:00Z') })
  })

  it('takes keys with anything in them', async () => {
    for (const key of ['a/b', 'ö %2F?#', '...', 'a/../b']) {
      await store.set(key, key)
      expect((await store.get(key))?.value).toBe(key)
    }
  })

  it.each(['', '.', '..'])('refuses the key %j, which no URL can name, before it asks anything', async (key) => {
    const before = wire.requests.length
    await expect(store.set(key, 1)).rejects.toBeInstanceOf(ValidationError)
    expect(wire.requests).toHaveLength(before)
  })

  it('says of what is not there that it is not', async () => {
    expect(await store.get('a')).toBeNull()
    expect(await store.delete('a')).toBe(false)
    await store.set('a', 1)
    expect(await store.delete('a')).toBe(true)
  })

  it('says of a sandbox that is not there that it is not', async () => {
    wire.sandboxes.clear()
    await expect(store.get('a')).rejects.toMatchObject({ code: 'sandbox_not_found' })
  })

  it('tells its keys page by page', async () => {
    for (const key of ['b/2', 'b/1', 'a', 'b/3']) await store.set(key, 1)
    expect(await store.list()).toEqual({ keys: ['a', 'b/1', 'b/2', 'b/3'], truncated: false })
    expect(await store.list({ prefix: 'b/', limit: 2 })).toEqual({ keys: ['b/1', 'b/2'], truncated: true })
    expect(await store.list({ prefix: 'b/', limit: 2, after: 'b/2' })).toEqual({ keys: ['b/3'], truncated: false })
  })

  it('does a batch in its order', async () => {
    const applied = await store.batch([
      { op: 'set', key: 'a', value: 1, ttl: 60 },
      { op: 'set', key: 'b', value: 2 },
      { op: 'delete', key: 'b' },
    ])
    expect(applied).toBe(3)
    expect(JSON.parse(wire.requests.at(-1)?.body.toString() ?? '').operations[0]).toEqual({
      op: 'set',
      key: 'a',
      value: 1,
      ttl_seconds: 60,
    })
    expect((await store.list()).keys).toEqual(['a'])
  })
})
