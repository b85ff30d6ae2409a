import { createHmac } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { AuthenticationError, ValidationError, verifyWebhook } from './index.ts'

const now = Date.parse('2026-01-02T03:04:05Z')
const secret = 'the-secret'
const message = { id: 'd1', event: 'sandbox.created', created_at: '2026-01-02T03:04:00Z', sandbox: { id: 'runaaaa' } }
const body = JSON.stringify(message)

function signed(text = body, at = now, by = secret): Record<string, string> {
  const timestamp = String(at / 1000)
  const hex = createHmac('sha256', by).update(`${timestamp}.${text}`).digest('hex')
  return { 'portico-timestamp': timestamp, 'portico-signature': `v1=${hex}` }
}

afterEach(() => {
  vi.useRealTimers()
})

function standStill(): void {
  vi.useFakeTimers({ toFake: ['Date'], now })
}

describe('the request of a webhook', () => {
  it.each([
    ['fetch', (headers: Record<string, string>) => new Headers(headers)],
    ['Node', (headers: Record<string, string>) => headers],
    [
      'a server that keeps capitals and lists',
      (headers: Record<string, string>) => ({
        'Portico-Timestamp': [headers['portico-timestamp'] ?? ''],
        'Portico-Signature': headers['portico-signature'],
      }),
    ],
  ])('is read with the headers of %s', async (_what, headers) => {
    standStill()
    const expected = {
      id: 'd1',
      event: 'sandbox.created',
      createdAt: new Date(message.created_at),
      sandbox: message.sandbox,
    }
    expect(await verifyWebhook(body, headers(signed()), secret)).toEqual(expected)
    expect(await verifyWebhook(Buffer.from(body), headers(signed()), secret)).toEqual(expected)
  })

  it.each<[string, string, Record<string, string>, RegExp]>([
    ['has no signature', body, {}, /not signed/],
    ['has a signature of another kind', body, { ...signed(), 'portico-signature': 'v0=00' }, /not signed/],
    ['is of another secret', body, signed(body, now, 'other'), /not of this secret and body/],
    ['was changed', body.replace('runaaaa', 'runbbbb'), signed(), /not of this secret and body/],
    ['has another time', body, { ...signed(), 'portico-timestamp': String(now / 1000 + 1) }, /not of this secret/],
    ['is old', body, signed(body, now - 301_000), /301 s ago/],
    ['is of the future', body, signed(body, now + 301_000), /clocks/],
  ])('is refused when it %s', async (_what, text, headers, why) => {
    standStill()
    const verifying = verifyWebhook(text, headers, secret)
    await expect(verifying).rejects.toThrow(why)
    await expect(verifying).rejects.toBeInstanceOf(AuthenticationError)
  })

  it('may be as old as the program says', async () => {
    standStill()
    const old = signed(body, now - 3_000_000)
    expect((await verifyWebhook(body, old, secret, { toleranceSec: 3600 })).id).toBe('d1')
    await expect(verifyWebhook(body, signed(body, now - 2000), secret, { toleranceSec: 1 })).rejects.toThrow(/2 s ago/)
  })

  it('has one good signature of several while a secret is changed', async () => {
    standStill()
    const headers = signed()
    headers['portico-signature'] = `v1=${'0'.repeat(64)}, ${headers['portico-signature']}`
    expect((await verifyWebhook(body, headers, secret)).event).toBe('sandbox.created')
  })

  it('may tell of an event that this SDK does not know', async () => {
    standStill()
    const text = JSON.stringify({ ...message, event: 'sandbox.painted' })
    expect((await verifyWebhook(text, signed(text), secret)).event).toBe('sandbox.painted')
  })

  it('that is signed but no message is an error, and so is an empty secret', async () => {
    standStill()
    await expect(verifyWebhook('{', signed('{'), secret)).rejects.toMatchObject({ code: 'protocol_error' })
    await expect(verifyWebhook(body, signed(), '')).rejects.toBeInstanceOf(ValidationError)
  })
})
