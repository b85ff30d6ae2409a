/** The receiver's side of a webhook: whether a request is the platform's, of now, and unchanged. Needs no client and no network. */

import { webhookBody } from '@portico/shared/api'
import { AuthenticationError, makeError, type PorticoError } from './errors.ts'
import { invalid } from './options.ts'
import type { WebhookEventName } from './webhooks.ts'

export interface VerifyOptions {
  /** How many seconds the request may be old, and the two clocks apart; 300 unless told. */
  readonly toleranceSec?: number | undefined
}

/** What a webhook was told. */
export interface WebhookMessage {
  /** The delivery's: the same in every attempt, so that what comes twice can be told. */
  readonly id: string
  readonly event: WebhookEventName
  readonly createdAt: Date
  /** The sandbox's record at that moment, in the spelling of the wire: `mem_mib`, `created_at`. */
  readonly sandbox: Readonly<Record<string, unknown>>
}

/** Headers of whichever server: those of `fetch`, or Node's. */
export type ReceivedHeaders =
  | { get(name: string): string | null }
  | Readonly<Record<string, string | readonly string[] | undefined>>

/**
 * The message of a webhook's request, once its signature is right; rejects with an AuthenticationError otherwise. `body` is the request's as it arrived:
 * JSON that was parsed and written again is another text.
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: ReceivedHeaders,
  secret: string,
  { toleranceSec = 300 }: VerifyOptions = {},
): Promise<WebhookMessage> {
  const timestamp = header(headers, 'portico-timestamp')
  const signatures = [...header(headers, 'portico-signature').matchAll(/(?:^|,)\s*v1=([0-9a-f]{64})\s*(?=,|$)/g)]
  if (!/^\d{1,12}$/.test(timestamp) || signatures.length === 0) throw refused('it is not signed')
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
  const signed = concat(new TextEncoder().encode(`${timestamp}.`), bytes)
  const key = await importKey(secret)
  const checks = signatures.map(([, hex = '']) => crypto.subtle.verify('HMAC', key, fromHex(hex), signed))
  if (!(await Promise.all(checks)).includes(true)) throw refused('its signature is not of this secret and body')
  const apartSec = Math.abs(Date.now() / 1000 - Number(timestamp))
  if (apartSec > toleranceSec) throw refused(`it was sent ${Math.round(apartSec)} s ago or the clocks are apart`)
  return message(new TextDecoder().decode(bytes))
}

const known = webhookBody.extend({ event: webhookBody.shape.id })

function message(text: string): WebhookMessage {
  try {
    const { id, event, created_at, sandbox } = known.parse(JSON.parse(text))
    return { id, event, createdAt: new Date(created_at), sandbox }
  } catch (cause) {
    const why = 'cannot read the webhook: it is signed but no message'
    throw makeError({ code: 'protocol_error', message: why, status: 0, retryable: false, cause })
  }
}

function header(headers: ReceivedHeaders, name: string): string {
  if (typeof headers.get === 'function') return headers.get(name) ?? ''
  const entries = Object.entries(headers as Readonly<Record<string, string | readonly string[] | undefined>>)
  const value = entries.find(([key]) => key.toLowerCase() === name)?.[1]
  return typeof value === 'string' ? value : (value?.[0] ?? '')
}

async function importKey(secret: string) {
  if (secret === '') throw invalid('cannot verify the webhook: the secret is empty', 'It was told when it was made.')
  const bytes = new TextEncoder().encode(secret)
  return await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
}

function concat(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(one.length + other.length)
  both.set(one)
  both.set(other, one.length)
  return both
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: hex.length / 2 }, (_, index) =>
    Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16),
  )
}

function refused(why: string): PorticoError {
  return new AuthenticationError({
    code: 'unauthorized',
    message: `cannot accept the webhook: ${why}`,
    status: 0,
    retryable: false,
    hint: 'Answer it with 400 and do nothing; check that the secret is this webhook’s.',
  })
}
