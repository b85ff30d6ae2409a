/** Webhooks: who is told of what happens to the account's sandboxes, and how that went. */

import { deliveryList, webhook, webhookList, webhookMade } from '@portico/shared/api'
import { z } from 'zod'
import { shortMs } from './limits.ts'
import type { CallOptions } from './sandbox.ts'
import type { Call, Transport } from './transport.ts'

/** What can be told of a sandbox. A newer platform may know more. */
export type WebhookEventName =
  | 'sandbox.created'
  | 'sandbox.running'
  | 'sandbox.hibernated'
  | 'sandbox.resumed'
  | 'sandbox.destroyed'
  | 'sandbox.failed'
  | 'sandbox.unreachable'
  | 'sandbox.reachable'
  | 'sandbox.lost'
  | (string & {})

export interface WebhookOptions extends CallOptions {
  /** Where it is told: an http or https URL that the platform can reach. */
  readonly url: string
  /** Such as `sandbox.created`; all unless told. */
  readonly events?: readonly WebhookEventName[] | undefined
}

export interface WebhookInfo {
  readonly id: string
  readonly url: string
  readonly events: readonly string[]
  readonly createdAt: Date
}

/** A webhook that was just made: the only time that its secret is told. */
export interface NewWebhook extends WebhookInfo {
  /** For `verifyWebhook`. */
  readonly secret: string
}

/** One event on its way to a webhook. */
export interface WebhookDelivery {
  readonly id: string
  readonly event: string
  readonly sandboxId: string
  readonly state: 'pending' | 'delivered' | 'given_up'
  readonly attempts: number
  /** What the receiver answered last, or null if it did not. */
  readonly lastStatus: number | null
  readonly lastError: string | null
  readonly createdAt: Date
  readonly nextAttemptAt: Date | null
}

export class Webhooks {
  readonly #transport: Transport

  /** @internal Made by Portico alone. */
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Tells a URL from now on. Keep the secret: it is told this once. */
  async create({ signal, ...json }: WebhookOptions): Promise<NewWebhook> {
    const call = { method: 'POST', path: '/v1/webhooks', doing: 'add the webhook', json } as const
    const { secret, ...made } = await this.#transport.json({ ...call, limitMs: shortMs, signal }, webhookMade)
    return { ...webhookInfo(made), secret }
  }

  async list(options: CallOptions = {}): Promise<WebhookInfo[]> {
    const { webhooks } = await this.#look('', 'list the webhooks', webhookList, options)
    return webhooks.map(webhookInfo)
  }

  async get(id: string, options: CallOptions = {}): Promise<WebhookInfo> {
    return webhookInfo(await this.#look(pathOf(id), 'look up the webhook', webhook, options))
  }

  /** Tells it no more. A NotFoundError says that it was gone already. */
  async delete(id: string, options: CallOptions = {}): Promise<void> {
    await this.#look(pathOf(id), 'remove the webhook', z.unknown(), options, 'DELETE')
  }

  /** What was told to it lately, newest first. */
  async deliveries(id: string, options: CallOptions = {}): Promise<WebhookDelivery[]> {
    const path = `${pathOf(id)}/deliveries`
    const { deliveries } = await this.#look(path, 'look up the deliveries', deliveryList, options)
    return deliveries.map((delivery) => ({
      id: delivery.id,
      event: delivery.event,
      sandboxId: delivery.sandbox_id,
      state: delivery.state,
      attempts: delivery.attempts,
      lastStatus: delivery.last_status,
      lastError: delivery.last_error,
      createdAt: new Date(delivery.created_at),
      nextAttemptAt: delivery.next_attempt_at === null ? null : new Date(delivery.next_attempt_at),
    }))
  }

  #look<Schema extends z.ZodType>(
    path: string,
    doing: string,
    schema: Schema,
    { signal }: CallOptions,
    method: Call['method'] = 'GET',
  ): Promise<z.output<Schema>> {
    const call = { method, path: `/v1/webhooks${path}`, doing, limitMs: shortMs, repeatable: true, signal }
    return this.#transport.json(call, schema)
  }
}

function pathOf(id: string): string {
  return `/${encodeURIComponent(id)}`
}

function webhookInfo({ created_at, ...wire }: z.output<typeof webhook>): WebhookInfo {
  return { ...wire, createdAt: new Date(created_at) }
}
