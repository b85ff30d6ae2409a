/** What happened to sandboxes on its way to the account's webhooks: taken in with the index's entry, in one transaction, and then sent until it is received or given up. */

import type { RunRecord, RunStatus, WebhookBody, WebhookEvent } from '@portico/shared/api'
import type { Clock } from '@portico/shared/clock'
import { newDeliveryId } from '@portico/shared/ids'
import { costCents } from '@portico/shared/usage'
import type { Happening, IndexEntry } from '../ports.ts'
import type { Rates } from '../rates.ts'
import type { DeliveryBounds, DeliveryRow, DeliveryTable } from '../store/deliveries.ts'
import type { WebhookTable } from '../store/webhooks.ts'
import { attempt, type Send } from './attempt.ts'

/** Attempts at once: as many connections as the platform gives one request. */
const atOnce = 6
/** One alarm sends no longer than this; the next goes on. */
const turnMs = 60_000
export const mostLogged = 1000
const bounds: DeliveryBounds = { pending: 10_000, pendingOfAll: 20_000, done: mostLogged }

export interface OutboxOptions {
  readonly webhooks: WebhookTable
  readonly deliveries: DeliveryTable
  readonly clock: Clock
  readonly rates: Rates
  readonly send?: Send
}

export class Outbox {
  readonly #options: OutboxOptions

  constructor(options: OutboxOptions) {
    this.#options = options
  }

  /** Puts in what happened after `since`, the version that the index had before. Answers how many deliveries that made. */
  take(entry: IndexEntry, since: number): number {
    const fresh = entry.happenings.filter(({ version }) => version > since)
    if (fresh.length === 0) return 0
    const { webhooks, deliveries } = this.#options
    let made = 0
    for (const webhook of webhooks.list()) {
      const wanted = fresh.filter(({ event }) => webhook.events.includes(event))
      for (const happening of wanted) deliveries.add(this.#delivery(webhook.id, entry, happening))
      if (wanted.length > 0) deliveries.bound(webhook.id, bounds)
      made += wanted.length
    }
    return made
  }

  /** When there is something to send. */
  nextAt(): number | undefined {
    return this.#options.deliveries.nextAt()
  }

  /** Sends what is due. */
  async send(): Promise<void> {
    const { deliveries, clock } = this.#options
    const until = clock.now() + turnMs
    while (clock.now() < until) {
      const due = deliveries.due(clock.now(), atOnce)
      if (due.length === 0) return
      await Promise.all(due.map((delivery) => this.#try(delivery)))
    }
  }

  async #try(delivery: DeliveryRow): Promise<void> {
    const { webhooks, deliveries, clock, send } = this.#options
    const webhook = webhooks.get(delivery.webhook)
    if (webhook === undefined) return deliveries.drop(delivery.webhook)
    deliveries.settle(delivery, await attempt(webhook, delivery, clock, send))
  }

  #delivery(webhook: string, entry: IndexEntry, { event, at }: Happening) {
    const id = newDeliveryId()
    const sandbox = this.#document(entry, event)
    const body: WebhookBody = { id, event, created_at: new Date(at).toISOString(), sandbox }
    const created_at = this.#options.clock.now()
    return { id, webhook, event, sandbox: entry.record.id, body: JSON.stringify(body), created_at }
  }

  /** The sandbox as the event left it; the entry may be of a later moment. */
  #document({ record, usage }: IndexEntry, event: WebhookEvent): Record<string, unknown> {
    const status: RunStatus = statusAfter[event] ?? record.status
    if ((event !== 'sandbox.destroyed' && event !== 'sandbox.lost') || usage === null) return { ...record, status }
    return { ...record, status, usage: { ...usage, cost_cents: this.#cost(record, usage.uptime_ms) } }
  }

  #cost({ vcpus, mem_mib }: RunRecord, uptimeMs: number): number {
    return costCents(uptimeMs, vcpus, mem_mib, this.#options.rates)
  }
}

const statusAfter: Readonly<Partial<Record<WebhookEvent, RunStatus>>> = {
  'sandbox.created': 'creating',
  'sandbox.running': 'running',
  'sandbox.hibernated': 'hibernated',
  'sandbox.resumed': 'running',
  'sandbox.destroyed': 'destroyed',
  'sandbox.failed': 'error',
  'sandbox.unreachable': 'unreachable',
  'sandbox.lost': 'lost',
}
