/** One attempt of a delivery: signed, sent once, redirects not followed, the answer's body dropped. Only a status of 2xx counts. */

import type { Clock } from '@portico/shared/clock'
import type { NewWebhook } from '../ports.ts'
import type { Attempt, DeliveryRow } from '../store/deliveries.ts'

const limitMs = 10_000
const second = 1000
const minute = 60 * second
const hour = 60 * minute

/** How long after each failed attempt the next one comes; after the last, some 24 hours after the first, it is given up. */
const waits = [5 * second, 30 * second, 2 * minute, 10 * minute, hour, 4 * hour, 8 * hour, 10.75 * hour]

/** Where deliveries are sent from; a test puts a receiver here. */
export type Send = (url: string, init: RequestInit) => Promise<Response>

const overNetwork: Send = (url, init) => globalThis.fetch(url, init)

/** Tries once and says what comes of it. */
export async function attempt(
  webhook: NewWebhook,
  delivery: DeliveryRow,
  clock: Clock,
  send: Send = overNetwork,
): Promise<Attempt> {
  const { status, error } = await post(webhook, delivery, clock, send)
  if (error === null) return { state: 'delivered', last_status: status, last_error: null, next_at: null }
  const wait = waits[delivery.attempts]
  const failed = { last_status: status, last_error: error }
  if (wait === undefined) return { state: 'given_up', ...failed, next_at: null }
  return { state: 'pending', ...failed, next_at: clock.now() + wait }
}

async function post(
  { url, secret }: NewWebhook,
  { id, event, body }: DeliveryRow,
  clock: Clock,
  send: Send,
): Promise<{ status: number | null; error: string | null }> {
  const timestamp = String(Math.floor(clock.now() / 1000))
  // A timer that went on after the answer would keep the object from its sleep.
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(), limitMs)
  try {
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'Portico-Webhook/1',
      'portico-event': event,
      'portico-delivery': id,
      'portico-timestamp': timestamp,
      'portico-signature': await signature(secret, timestamp, body),
    }
    const response = await send(url, { method: 'POST', headers, body, redirect: 'manual', signal: limit.signal })
    await response.body?.cancel()
    const { status, ok } = response
    return { status, error: ok ? null : `the receiver answered ${status}` }
  } catch {
    return { status: null, error: limit.signal.aborted ? 'no answer within 10 s' : 'the receiver could not be reached' }
  } finally {
    clearTimeout(timer)
  }
}

/** `v1=<hex of HMAC-SHA256(secret, timestamp ‖ "." ‖ body)>` */
export async function signature(secret: string, timestamp: string, body: string): Promise<string> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), algorithm, false, ['sign'])
  const mac = new Uint8Array(await crypto.subtle.sign('HMAC', key, encoder.encode(`${timestamp}.${body}`)))
  return `v1=${Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join('')}`
}

const encoder = new TextEncoder()
