/** Lifecycle webhooks: `/v1/webhooks`. */

import { z } from 'zod'

/** What is told of a sandbox. */
export const webhookEvents = [
  'sandbox.created',
  'sandbox.running',
  'sandbox.hibernated',
  'sandbox.resumed',
  'sandbox.destroyed',
  'sandbox.failed',
  'sandbox.unreachable',
  'sandbox.reachable',
  'sandbox.lost',
] as const
export type WebhookEvent = (typeof webhookEvents)[number]

/** `POST /v1/webhooks`. Without `events` all are told. */
export const webhookRequest = z.object({
  url: z.url({ protocol: /^https?$/ }).max(2048),
  events: z.array(z.enum(webhookEvents)).min(1).optional(),
})
export type WebhookRequest = z.infer<typeof webhookRequest>

export const webhook = z.object({
  id: z.string(),
  url: z.string(),
  events: z.array(z.string()),
  created_at: z.string(),
})
export type Webhook = z.infer<typeof webhook>

/** The answer to `POST`: the secret is shown once. */
export const webhookMade = webhook.extend({ secret: z.string() })
export type WebhookMade = z.infer<typeof webhookMade>

/** `GET /v1/webhooks` */
export const webhookList = z.object({ webhooks: z.array(webhook) })

/** `GET /v1/webhooks/{id}/deliveries`, newest first. */
export const deliveryList = z.object({
  deliveries: z.array(
    z.object({
      id: z.string(),
      event: z.string(),
      sandbox_id: z.string(),
      state: z.enum(['pending', 'delivered', 'given_up']),
      attempts: z.number(),
      /** The receiver's status, or null if there was none. */
      last_status: z.number().nullable(),
      last_error: z.string().nullable(),
      created_at: z.string(),
      next_attempt_at: z.string().nullable(),
    }),
  ),
})
export type DeliveryList = z.infer<typeof deliveryList>

/**
 * What is sent: `POST` with `Portico-Event`, `Portico-Delivery` (the same in every attempt), `Portico-Timestamp` (Unix seconds) and
 * `Portico-Signature: v1=<hex of HMAC-SHA256(secret, timestamp ‖ "." ‖ body)>`.
 */
export const webhookBody = z.object({
  id: z.string(),
  event: z.enum(webhookEvents),
  created_at: z.string(),
  sandbox: z.record(z.string(), z.unknown()),
})
export type WebhookBody = z.infer<typeof webhookBody>
