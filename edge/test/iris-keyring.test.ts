/** The keys that sign data-plane tokens: made once, stored sealed, rotated with an overlap, and gone when nothing of theirs can count any more. */

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { SigningKey, SigningKeyList } from '@portico/shared/api'
import { FakeClock } from '@portico/shared/clock'
import { newAccountId, newSandboxId } from '@portico/shared/ids'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { beforeEach, describe, expect, test } from 'vitest'
import { objectsOf } from '../src/durable/objects.ts'
import { Keyring } from '../src/iris/keyring.ts'
import { TokenKeys } from '../src/iris/token-keys.ts'
import { readToken } from '../src/iris/tokens.ts'
import { type Outcome, unwrap } from '../src/outcome.ts'
import type { KeyringPort, Objects, PublicSigningKey } from '../src/ports.ts'
import { keyringSchema, migrate } from '../src/store/migrations.ts'
import { SigningKeyTable } from '../src/store/signing-keys.ts'
import { adminKey, answer, refusal } from './client.ts'

const subject = { account: newAccountId(), region: 'local', sandbox: newSandboxId() }
const [first, second] = ['the first secret of this test, long enough', 'the second secret of this test, long enough']

/** A keyring on an object's real storage, whose clock and secrets are the test's. */
async function withKeyring<Value>(
  work: (scene: {
    keyring: (secrets?: string[]) => Keyring
    clock: FakeClock
    state: DurableObjectState
    alarms: number[]
  }) => Promise<Value>,
): Promise<Value> {
  const stub = env.KEYRING.get(env.KEYRING.newUniqueId())
  return await runInDurableObject(stub, async (_object, state) => {
    migrate(state.storage, keyringSchema)
    const clock = new FakeClock(Date.parse('2026-05-01T12:00:00Z'))
    const alarms: number[] = []
    const keyring = (secrets = [first]) =>
      new Keyring({
        table: new SigningKeyTable(state.storage.sql),
        atomically: (step) => state.storage.transactionSync(step),
        secrets: () => secrets,
        clock,
        wakeAt: (at) => void alarms.push(at),
      })
    return await work({ keyring, clock, state, alarms })
  })
}

const kidOf = (token: string) => decodeProtectedHeader(token).kid ?? ''
const check = (token: string, keys: readonly PublicSigningKey[], now: number) =>
  readToken(token, now, async (kid) => {
    const found = keys.find((key) => key.kid === kid)
    if (found === undefined) return undefined
    return await crypto.subtle.importKey(
      'jwk',
      { kty: found.kty, n: found.n, e: found.e },
      { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
      false,
      ['verify'],
    )
  })

describe('a key', () => {
  test('is made for the first token, of 2048 bits, and stored without a word of its private half', () =>
    withKeyring(async ({ keyring, clock, state }) => {
      const ring = keyring()
      expect(ring.published()).toEqual([])
      const { token, expiresAt } = await ring.sign(subject, 600)
      expect(expiresAt).toBe(clock.now() / 1000 + 600)
      const [key] = ring.published()
      expect(decodeProtectedHeader(token)).toEqual({ alg: 'RS256', typ: 'JWT', kid: key?.kid })
      expect(Object.keys(key ?? {}).toSorted()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use'])
      expect(atob((key?.n ?? '').replaceAll('-', '+').replaceAll('_', '/'))).toHaveLength(256)
      expect(await check(token, ring.published(), clock.now())).toEqual(subject)
      const [{ private: sealed }] = state.storage.sql
        .exec<{ private: ArrayBuffer }>('SELECT private FROM signing_keys')
        .toArray() as [{ private: ArrayBuffer }]
      const stored = new TextDecoder('windows-1252').decode(sealed)
      for (const word of ['"d"', '"p"', 'RSA', key?.n ?? '']) expect(stored).not.toContain(word)
    }))

  test('is one, however many ask for the first token at once', () =>
    withKeyring(async ({ keyring }) => {
      const ring = keyring()
      const signed = await Promise.all([1, 2, 3].map(() => ring.sign(subject, 60)))
      expect(new Set(signed.map(({ token }) => kidOf(token))).size).toBe(1)
      expect(ring.published()).toHaveLength(1)
    }))

  test('is opened by the former secret, and is sealed under the one in force from then on', () =>
    withKeyring(async ({ keyring }) => {
      const { token } = await keyring([first]).sign(subject, 60)
      const later = await keyring([second, first]).sign(subject, 60)
      expect(kidOf(later.token)).toBe(kidOf(token))
      const last = await keyring([second]).sign(subject, 60)
      expect(kidOf(last.token)).toBe(kidOf(token))
    }))

  test('that no secret opens gives way to a new one, and its tokens still count', () =>
    withKeyring(async ({ keyring, clock }) => {
      const { token } = await keyring([first]).sign(subject, 600)
      const ring = keyring([second])
      const next = await ring.sign(subject, 600)
      expect(kidOf(next.token)).not.toBe(kidOf(token))
      for (const one of [token, next.token]) expect(await check(one, ring.published(), clock.now())).toEqual(subject)
    }))
})

describe('rotation', () => {
  test('keeps the old key until its last token has ended, and then drops it', () =>
    withKeyring(async ({ keyring, clock, state, alarms }) => {
      const ring = keyring()
      const { token: old, expiresAt } = await ring.sign(subject, 3600)
      const keys = await ring.rotate()
      expect(keys.map(({ status }) => status)).toEqual(['signing', 'retired'])
      expect(keys[1]).toMatchObject({ id: kidOf(old), retired_at: '2026-05-01T12:00:00.000Z' })
      expect(Date.parse(keys[1]?.last_token_ends_at ?? '')).toBe(expiresAt * 1000)
      const retired = state.storage.sql.exec('SELECT kid FROM signing_keys WHERE private IS NULL').toArray()
      expect(retired).toEqual([{ kid: kidOf(old) }])

      const { token: young } = await ring.sign(subject, 3600)
      expect(kidOf(young)).toBe(keys[0]?.id)
      await clock.advance(3_600_000 + 29_000)
      expect(await check(old, ring.published(), clock.now())).toEqual(subject)
      expect(alarms.at(-1)).toBe(expiresAt * 1000 + 30_000)
      await clock.advance(1000)
      expect(ring.published().map(({ kid }) => kid)).toEqual([kidOf(young)])
      expect(await check(old, ring.published(), clock.now())).toBeUndefined()
    }))

  test('drops a key at once that never signed', () =>
    withKeyring(async ({ keyring }) => {
      const ring = keyring()
      expect(await ring.rotate()).toMatchObject([{ status: 'signing', last_token_ends_at: null }])
      const keys = await ring.rotate()
      expect(keys).toMatchObject([{ status: 'signing' }])
      expect(keys).toHaveLength(1)
    }))

  test('during a call leaves that call with a key that is still published', () =>
    withKeyring(async ({ keyring, clock }) => {
      const ring = keyring()
      await ring.rotate()
      const [signed] = await Promise.all([ring.sign(subject, 3600), ring.rotate(), ring.rotate()])
      const more = await Promise.all([ring.rotate(), ring.sign(subject, 3600), ring.sign(subject, 60)])
      for (const { token } of [signed, more[1], more[2]]) {
        expect(await check(token, ring.published(), clock.now())).toEqual(subject)
      }
    }))
})

describe('the object', () => {
  const keyring = objectsOf(env).keyring()
  const stub = env.KEYRING.get(env.KEYRING.idFromName('keyring'))
  const list = () => answer<SigningKeyList>('/admin/signing-keys', { key: adminKey })
  const rotated = () => answer<SigningKeyList>('/admin/signing-keys/rotate', { key: adminKey, method: 'POST' })

  test('signs with the same key after it lost its memory', async () => {
    const before = unwrap(await keyring.sign(subject, 60))
    await evictDurableObject(stub)
    const after = unwrap(await keyring.sign(subject, 60))
    expect(kidOf(after.token)).toBe(kidOf(before.token))
    expect(kidOf(after.token)).toBe((await list()).keys[0]?.id)
  })

  test('is rotated by the operator alone, and everybody may read the public halves', async () => {
    const { token } = unwrap(await keyring.sign(subject, 60))
    const { keys } = await rotated()
    expect(keys[0]).toMatchObject({ status: 'signing', retired_at: null, last_token_ends_at: null })
    expect(keys.find(({ id }: SigningKey) => id === kidOf(token))).toMatchObject({ status: 'retired' })
    for (const key of [undefined, 'nonsense']) {
      const headers = key === undefined ? {} : { key }
      expect(await refusal('/admin/signing-keys/rotate', { method: 'POST', ...headers })).toMatchObject({ status: 401 })
    }
    const set = await answer<{ keys: PublicSigningKey[] }>('/.well-known/jwks.json')
    const options = { issuer: 'portico', audience: 'portico-data-plane', algorithms: ['RS256'] }
    const { payload } = await jwtVerify(token, createLocalJWKSet({ keys: [...set.keys] }), options)
    expect(payload).toMatchObject({
      sub: subject.sandbox.replace('run', 'sb_'),
      account: subject.account,
      region: 'local',
    })
    expect(JSON.stringify(set)).not.toMatch(/"(d|p|q|dp|dq|qi)"/)
  })

  test('wakes up to drop what is over', async () => {
    unwrap(await keyring.sign(subject, 60))
    await rotated()
    await runInDurableObject(stub, async (_object, { storage }) => {
      expect(await storage.getAlarm()).toBeGreaterThan(Date.now())
      storage.sql.exec('UPDATE signing_keys SET last_until = 1 WHERE retired_at IS NOT NULL')
    })
    await runDurableObjectAlarm(stub)
    const left = await runInDurableObject(stub, (_object, { storage }) =>
      storage.sql.exec('SELECT retired_at FROM signing_keys').toArray(),
    )
    expect(left).toEqual([{ retired_at: null }])
  })
})

describe('an isolate', () => {
  const clock = new FakeClock(Date.now())
  let asked = 0
  let published: PublicSigningKey[] = []
  const port = {
    published: async (): Promise<Outcome<PublicSigningKey[]>> => {
      asked++
      return { ok: true, value: published }
    },
  } as unknown as KeyringPort
  const objects = { keyring: () => port } as unknown as Objects

  beforeEach(async () => {
    asked = 0
    published = await withKeyring(async ({ keyring }) => {
      await keyring().rotate()
      return keyring().published()
    })
  })

  test('asks once for a key that it does not know, and a bounded number of times for made-up ones', async () => {
    const keys = new TokenKeys(clock)
    const [key] = published
    expect(await keys.find(objects, key?.kid ?? '')).toBeInstanceOf(CryptoKey)
    await keys.find(objects, key?.kid ?? '')
    expect(asked).toBe(1)
    for (let round = 0; round < 50; round++) expect(await keys.find(objects, `made-up-${round}`)).toBeUndefined()
    expect(asked).toBe(11)
    await clock.advance(1000)
    expect(await keys.find(objects, 'made-up')).toBeUndefined()
    expect(asked).toBe(12)
    expect(await keys.find(objects, key?.kid ?? '')).toBeInstanceOf(CryptoKey)
    expect(asked).toBe(12)
  })

  test('hears of a new key with the first token of it', async () => {
    const keys = new TokenKeys(clock)
    const [old] = published
    await keys.find(objects, old?.kid ?? '')
    published = [{ ...(old as PublicSigningKey), kid: 'new' }, ...published]
    expect(await keys.find(objects, 'new')).toBeInstanceOf(CryptoKey)
    expect(asked).toBe(2)
  })

  test('publishes nothing older than ten seconds', async () => {
    const keys = new TokenKeys(clock)
    expect(await keys.published(objects)).toEqual(published)
    await keys.published(objects)
    expect(asked).toBe(1)
    published = []
    await clock.advance(10_000)
    expect(await keys.published(objects)).toEqual([])
  })
})
