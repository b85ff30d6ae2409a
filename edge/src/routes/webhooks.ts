/** `/v1/webhooks…`: who is told what happens to an account's sandboxes, in all of its regions. The secret is shown once. */

import {
  type DeliveryList,
  type Webhook,
  type WebhookMade,
  type WebhookRequest,
  webhookEvents,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newWebhookId, parseWebhookId } from '@portico/shared/ids'
import type { Call, KeyCall } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { AccountPort } from '../ports.ts'
import { newWebhookSecret, webhookNotFound } from '../webhook/hooks.ts'

/** `POST /v1/webhooks` */
export async function createWebhook(call: Call<'key', WebhookRequest>): Promise<Response> {
  const { url, events = webhookEvents } = call.body
  const { username, password } = new URL(url)
  if (username !== '' || password !== '') {
    throw new AppError('invalid_request', 'cannot add the webhook: its URL holds a name or a password')
  }
  const secret = newWebhookSecret()
  const made = { id: newWebhookId(), url, events: [...new Set(events)], secret, createdAt: call.services.clock.now() }
  const webhook = unwrap(await reach('add the webhook', accountOf(call).addWebhook(made)))
  return Response.json({ ...webhook, secret } satisfies WebhookMade, { status: 201 })
}

/** `GET /v1/webhooks` */
export async function listWebhooks(call: KeyCall): Promise<Response> {
  const webhooks: Webhook[] = await reach('list webhooks', accountOf(call).webhooks())
  return Response.json({ webhooks })
}

/** `GET /v1/webhooks/{id}` */
export async function readWebhook(call: KeyCall): Promise<Response> {
  const found = accountOf(call).webhook(idOf(call))
  return Response.json(unwrap(await reach('find the webhook', found)) satisfies Webhook)
}

/** `DELETE /v1/webhooks/{id}` */
export async function deleteWebhook(call: KeyCall): Promise<Response> {
  const id = idOf(call)
  unwrap(await reach('remove the webhook', accountOf(call).removeWebhook(id)))
  return Response.json({ id, status: 'deleted' })
}

/** `GET /v1/webhooks/{id}/deliveries` */
export async function listDeliveries(call: KeyCall): Promise<Response> {
  const found = accountOf(call).deliveries(idOf(call))
  return Response.json(unwrap(await reach('list deliveries', found)) satisfies DeliveryList)
}

function accountOf({ objects, principal }: KeyCall): AccountPort {
  return objects.account(principal.account)
}

function idOf(call: KeyCall): string {
  const id = parseWebhookId(call.parameter('webhook'))
  if (id === undefined) throw webhookNotFound()
  return id
}
