/** An account's webhooks as the API changes and shows them. */

import type { DeliveryList, Webhook } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { base32 } from '@portico/shared/ids'
import type { NewWebhook } from '../ports.ts'
import type { DeliveryRow, DeliveryTable } from '../store/deliveries.ts'
import { publicWebhook, type WebhookTable } from '../store/webhooks.ts'
import { mostLogged } from './outbox.ts'

const mostWebhooks = 10

/** `whsec_` and 160 random bits. All of it, as text, is the key of the signature. */
export function newWebhookSecret(): string {
  return `whsec_${base32(crypto.getRandomValues(new Uint8Array(20)))}`
}

/** Adds a webhook, up to the most that an account may have. */
export function addWebhook(table: WebhookTable, webhook: NewWebhook): Webhook {
  if (table.list().length >= mostWebhooks) {
    const why = `the account's limit webhooks = ${mostWebhooks} is reached`
    throw new AppError('quota_exceeded', `cannot add the webhook: ${why}`)
  }
  table.add(webhook)
  return publicWebhook(webhook)
}

export function findWebhook(table: WebhookTable | undefined, id: string): Webhook {
  const found = table?.get(id)
  if (found === undefined) throw webhookNotFound()
  return publicWebhook(found)
}

/** Removes it with everything that it was still to be told. */
export function removeWebhook(
  table: WebhookTable | undefined,
  deliveries: DeliveryTable | undefined,
  id: string,
): void {
  findWebhook(table, id)
  deliveries?.drop(id)
  table?.remove(id)
}

/** The newest deliveries first. */
export function deliveryLog(
  table: WebhookTable | undefined,
  deliveries: DeliveryTable | undefined,
  id: string,
): DeliveryList {
  findWebhook(table, id)
  return { deliveries: (deliveries?.log(id, mostLogged) ?? []).map(publicDelivery) }
}

export function webhookNotFound(): AppError {
  return new AppError('not_found', 'cannot find the webhook: there is none with this id')
}

function publicDelivery(row: DeliveryRow): DeliveryList['deliveries'][number] {
  const { id, event, sandbox, state, attempts, last_status, last_error, created_at, next_at } = row
  return {
    ...{ id, event, state, attempts, last_status, last_error },
    sandbox_id: sandbox,
    created_at: new Date(created_at).toISOString(),
    next_attempt_at: next_at === null ? null : new Date(next_at).toISOString(),
  }
}
