import { newAccountId, newRunnerId } from '@portico/shared/ids'
import { describe, expect, test } from 'vitest'
import {
  formatToken,
  hashSecret,
  makeSigner,
  newKeySerial,
  parseKeyId,
  parseToken,
  sameText,
  type TokenKind,
} from './tokens.ts'

const secret = 'some secret of at least thirty-two characters'
const ids = { key: () => `${newAccountId()}${newKeySerial()}`, runner: () => newRunnerId() as string }

describe.each(['key', 'runner'] as const)('a token of kind %s', (kind: TokenKind) => {
  test('is read back as it was made, and carries its signature', async () => {
    const signer = await makeSigner(secret, kind)
    const token = await signer.sign('local', ids[kind]())
    const text = formatToken(token)
    expect(text).toMatch(
      kind === 'key' ? /^portico_live_local_[a-z2-7]{36}_[a-z2-7]{52}$/ : /^portico_runner_local_runner/,
    )
    expect(parseToken(kind, text)).toEqual(token)
    expect(parseToken(kind === 'key' ? 'runner' : 'key', text)).toBeUndefined()
    expect(await signer.verify(token)).toBe(true)
  })

  test('is refused with one digit changed, another region, another id, another secret, another kind', async () => {
    const signer = await makeSigner(secret, kind)
    const token = await signer.sign('local', ids[kind]())
    const first = token.secret.startsWith('a') ? 'b' : 'a'
    expect(await signer.verify({ ...token, secret: `${first}${token.secret.slice(1)}` })).toBe(false)
    expect(await signer.verify({ ...token, region: 'eu' })).toBe(false)
    expect(await signer.verify({ ...token, id: ids[kind]() })).toBe(false)
    expect(await (await makeSigner(`${secret}!`, kind)).verify(token)).toBe(false)
    expect(await (await makeSigner(secret, kind === 'key' ? 'runner' : 'key')).verify(token)).toBe(false)
  })

  test('has a form that nothing else has', async () => {
    const text = formatToken(await (await makeSigner(secret, kind)).sign('local', ids[kind]()))
    const wrong = [
      '',
      text.slice(1),
      `${text}_`,
      `${text}a`,
      text.slice(0, -1),
      text.toUpperCase(),
      text.replace('_local_', '_LOCAL_'),
      text.replace('_local_', '__'),
      ` ${text}`,
    ]
    for (const other of wrong) expect(parseToken(kind, other), other).toBeUndefined()
  })
})

describe('the id of a key', () => {
  test('is the account and a serial of its own', () => {
    const account = newAccountId()
    const serial = newKeySerial()
    expect(serial).toMatch(/^[a-z2-7]{10}$/)
    expect(parseKeyId(`${account}${serial}`)).toEqual({ account, serial })
    expect(newKeySerial()).not.toBe(serial)
    for (const other of [
      account,
      `${account}${serial}a`,
      `${account}${serial.slice(1)}`,
      `${account}${'1'.repeat(10)}`,
    ]) {
      expect(parseKeyId(other)).toBeUndefined()
    }
  })
})

describe('what is stored', () => {
  test('is not the secret', async () => {
    expect(await hashSecret('secret')).toMatch(/^[a-z2-7]{52}$/)
    expect(await hashSecret('secret')).not.toContain('secret')
    expect(await hashSecret('secret')).toBe(await hashSecret('secret'))
  })

  test('is compared whole', () => {
    expect(sameText('abc', 'abc')).toBe(true)
    expect(sameText('abc', 'abd')).toBe(false)
    expect(sameText('abc', 'ab')).toBe(false)
    expect(sameText('', '')).toBe(true)
  })
})
