/** The operator's side: `/admin`. Accounts and their keys, runners. */

import { z } from 'zod'
import { accountLimits } from './account.ts'

/** `POST /admin/accounts` */
export const adminAccount = z.object({ id: z.string(), name: z.string(), created_at: z.string() })
export type AdminAccount = z.infer<typeof adminAccount>

/** `GET /admin/accounts` */
export const adminAccountList = z.object({ accounts: z.array(adminAccount) })

/** `GET /admin/accounts/{id}` */
export const adminAccountDetails = adminAccount.extend({
  limits: accountLimits,
  /** What of the limits is taken. */
  in_use: z.object({ sandboxes: z.number(), vcpus: z.number(), mem_mib: z.number(), snapshots: z.number() }),
})
export type AdminAccountDetails = z.infer<typeof adminAccountDetails>

/** `PUT /admin/accounts/{id}/limits` */
export const adminLimits = z.object({ limits: accountLimits })

/** What a key may do: all; look; look, and work inside sandboxes that exist. */
export const keyScopes = ['full', 'read-only', 'exec-only'] as const
export type KeyScope = (typeof keyScopes)[number]

/** A key without its secret. `DELETE /admin/accounts/{id}/keys/{key}` answers with it, too. */
export const adminKey = z.object({
  id: z.string(),
  region: z.string(),
  name: z.string(),
  scope: z.enum(keyScopes),
  created_at: z.string(),
  expires_at: z.string().nullable(),
  last_used_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
})
export type AdminKey = z.infer<typeof adminKey>

/** `POST /admin/accounts/{id}/keys`: the key itself is shown once. */
export const adminKeyMade = adminKey.extend({ key: z.string() })

/** `GET /admin/accounts/{id}/keys` */
export const adminKeyList = z.object({ keys: z.array(adminKey) })

/** `POST /admin/runners`: the token is shown once. */
export const runnerEnrolled = z.object({
  id: z.string(),
  region: z.string(),
  name: z.string(),
  created_at: z.string(),
  token: z.string(),
})

/** How an operator empties a runner: what runs there ends by itself, or is put to sleep. */
export const runnerDrainModes = ['wait', 'hibernate'] as const
export type RunnerDrainMode = (typeof runnerDrainModes)[number]

/** A runner as its region knows it; null is what it has not said yet. */
export const runnerRecord = z.object({
  id: z.string(),
  region: z.string(),
  name: z.string(),
  created_at: z.string(),
  connected: z.boolean(),
  draining: z.boolean(),
  drain: z
    .object({ mode: z.enum(runnerDrainModes), running: z.number(), hibernated: z.number(), done: z.boolean() })
    .nullable(),
  generation: z.number().nullable(),
  version: z.string().nullable(),
  accelerator: z.string().nullable(),
  vcpus: z.number().nullable(),
  free_mem_mib: z.number().nullable(),
  free_slots: z.number().nullable(),
  free_vcpus: z.number().nullable(),
  total_mem_mib: z.number().nullable(),
  load: z.number().nullable(),
  sockets: z.number(),
  images: z.array(z.string()),
  warm: z.record(z.string(), z.number()),
  sandboxes: z.number(),
  seen_at: z.string().nullable(),
})
export type RunnerRecord = z.infer<typeof runnerRecord>

/** `GET /admin/runners` */
export const runnerList = z.object({ runners: z.array(runnerRecord) })

/** `DELETE /admin/runners/{id}` */
export const runnerRemoved = z.object({ id: z.string(), status: z.literal('removed'), lost_sandboxes: z.number() })

/** A key that data-plane tokens are signed with, without its private half. The newest signs; a retired one stays published until its last token has ended. */
export const signingKey = z.object({
  id: z.string(),
  status: z.enum(['signing', 'retired']),
  created_at: z.string(),
  /** When another took its place; null for the one that signs. */
  retired_at: z.string().nullable(),
  /** When its last token so far has ended; null if it never signed one. */
  last_token_ends_at: z.string().nullable(),
})
export type SigningKey = z.infer<typeof signingKey>

/** `GET /admin/signing-keys` and `POST /admin/signing-keys/rotate` (which takes no body): newest first. Before the first token there is none. */
export const signingKeyList = z.object({ keys: z.array(signingKey) })
export type SigningKeyList = z.infer<typeof signingKeyList>
