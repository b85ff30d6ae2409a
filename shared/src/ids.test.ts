import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  base32,
  newAccountId,
  newRequestId,
  newRunnerId,
  newSandboxId,
  newSnapshotId,
  newWebhookId,
  parseAccountId,
  parseRegion,
  parseRunnerId,
  parseSandboxId,
  parseSnapshotId,
  parseWebhookId,
  sandboxIdOfUuid,
  uuidOf,
} from './ids.ts'

const kinds = [
  { name: 'sandbox', make: newSandboxId, parse: parseSandboxId, prefix: 'run' },
  { name: 'account', make: newAccountId, parse: parseAccountId, prefix: '' },
  { name: 'runner', make: newRunnerId, parse: parseRunnerId, prefix: 'runner' },
  { name: 'snapshot', make: newSnapshotId, parse: parseSnapshotId, prefix: 'snap' },
  { name: 'webhook', make: newWebhookId, parse: parseWebhookId, prefix: 'hook' },
] as const

describe.each(kinds)('a $name id', ({ make, parse, prefix }) => {
  test('comes back from its own text', () => {
    for (let count = 0; count < 200; count++) {
      const id = make()
      expect(parse(id)).toBe(id)
      expect(id).toMatch(new RegExp(`^${prefix}[a-z2-7]{26}$`))
    }
  })

  test('is never made twice', () => {
    expect(new Set(Array.from({ length: 5000 }, (): string => make())).size).toBe(5000)
  })

  test('is not any other text', () => {
    const id: string = make()
    const body = id.slice(prefix.length)
    for (const wrong of [
      '',
      prefix,
      `${id}a`,
      id.slice(0, -1),
      id.toUpperCase(),
      ` ${id}`,
      `${id}\n`,
      `x${id}`,
      `${prefix}${'1'.repeat(26)}`,
      `${prefix}${body.slice(0, 25)}b`,
      `../${id}`,
    ])
      expect(parse(wrong), JSON.stringify(wrong)).toBeUndefined()
  })

  test('is not one of another kind', () => {
    for (const other of kinds) if (other.prefix !== prefix) expect(parse(other.make())).toBeUndefined()
  })
})

test('a request id has its own prefix', () => {
  expect(newRequestId()).toMatch(/^req[a-z2-7]{26}$/)
})

describe('base32', () => {
  test.each([
    ['', ''],
    ['f', 'my'],
    ['fo', 'mzxq'],
    ['foo', 'mzxw6'],
    ['foob', 'mzxw6yq'],
    ['fooba', 'mzxw6ytb'],
    ['foobar', 'mzxw6ytboi'],
  ])('of %j is that of the standard', (text, expected) => {
    expect(base32(new TextEncoder().encode(text))).toBe(expected)
  })

  test('keeps all bits, for any 16 bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = base32(bytes)
        const value = [...text].reduce(
          (sum, digit) => sum * 32n + BigInt('abcdefghijklmnopqrstuvwxyz234567'.indexOf(digit)),
          0n,
        )
        expect((value >> 2n).toString(16).padStart(32, '0')).toBe(Buffer.from(bytes).toString('hex'))
        expect(parseAccountId(text)).toBe(text)
      }),
    )
  })
})

test('regions are short lower-case names', () => {
  for (const good of ['us', 'eu', 'local', 'ap1', 'a1', 'abcdefghijklmnop']) expect(parseRegion(good)).toBe(good)
  for (const bad of ['', 'a', 'US', '1a', 'eu-west', 'eu_1', 'abcdefghijklmnopq', 'eu\n', 'ü1'])
    expect(parseRegion(bad), bad).toBeUndefined()
})

describe('the UUID of a sandbox', () => {
  test('is one of version 4, and leads back to its id', () => {
    for (let count = 0; count < 200; count++) {
      const id = newSandboxId()
      const uuid = uuidOf(id)
      expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(sandboxIdOfUuid(uuid)).toBe(id)
      expect(sandboxIdOfUuid(uuid.toUpperCase())).toBe(id)
    }
  })

  test('is there for ids that were made without its version, too', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const id = parseSandboxId(`run${base32(bytes)}`)
        const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
        expect(id).toBeDefined()
        if (id === undefined) return
        expect(uuidOf(id).replaceAll('-', '')).toBe(hex)
        expect(sandboxIdOfUuid(uuidOf(id))).toBe(id)
      }),
    )
  })

  test('is no other text', () => {
    const uuid = '0e17f37f-edd8-451d-83ad-a26074113ecb'
    for (const wrong of [
      '',
      uuid.slice(1),
      `${uuid}0`,
      ` ${uuid}`,
      `${uuid}\n`,
      uuid.replaceAll('-', ''),
      `{${uuid}}`,
      'g',
    ])
      expect(sandboxIdOfUuid(wrong), JSON.stringify(wrong)).toBeUndefined()
  })
})
