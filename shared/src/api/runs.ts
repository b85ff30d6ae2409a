/** Sandboxes, called runs on this surface: `/v1/runs`. Field names and defaults are those of the documented Isorun API. */

import { z } from 'zod'
import { maxForkChildren } from '../limits.ts'
import { usage } from '../usage.ts'

/** Seconds without activity after which a sandbox is destroyed; 0 and -1 switch that off. */
const idleTimeout = z
  .int()
  .min(-1)
  .max(30 * 86_400)
  .transform((seconds) => Math.max(0, seconds))

const environment = z
  .record(
    z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a name has letters, digits and _'),
    z
      .string()
      .max(32_768)
      .refine((value) => !value.includes('\0'), 'a value may not contain NUL'),
  )
  .refine((map) => Object.keys(map).length <= 256, 'at most 256 variables')

/** What a person calls a sandbox; it need not be unique. */
const sandboxName = z.string().trim().min(1).max(128)

/** The caller's own marks on a sandbox, by which lists are filtered. */
export const labels = z
  .record(
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/, 'a label has letters, digits and . _ / -, at most 63'),
    z.string().max(255),
  )
  .refine((map) => Object.keys(map).length <= 64, 'at most 64 labels')
export type Labels = z.infer<typeof labels>

/** `POST /v1/runs` */
export const createRequest = z.object({
  image: z.string().min(1).max(512).default('node:22-slim'),
  vcpus: z.int().min(1).max(8).default(1),
  mem_mib: z.int().min(128).max(32_768).default(1024),
  disk_mib: z.int().min(64).max(1_048_576).default(4096),
  timeout: idleTimeout.default(300),
  name: sandboxName.optional(),
  labels: labels.default({}),
  env: environment.default({}),
  auto_resume: z.boolean().default(false),
  on_idle: z.enum(['destroy', 'hibernate']).default('destroy'),
  network: z.object({ allow: z.array(z.string()).default([]), deny: z.array(z.string()).default([]) }).optional(),
  network_profile: z.string().optional(),
  credentials: z.record(z.string(), z.unknown()).optional(),
})
export type CreateRequest = z.infer<typeof createRequest>

/** `PATCH /v1/runs/{id}`. A name of null takes it away; labels replace the former ones. */
export const updateRequest = z
  .object({ timeout: idleTimeout.optional(), name: sandboxName.nullable().optional(), labels: labels.optional() })
  .refine((asked) => Object.keys(asked).length > 0, 'give timeout, name or labels')
export type UpdateRequest = z.infer<typeof updateRequest>

export const runStatuses = [
  'creating',
  'running',
  'hibernating',
  'hibernated',
  'resuming',
  'destroyed',
  'error',
  'unreachable',
  'lost',
] as const
export type RunStatus = (typeof runStatuses)[number]

/** A sandbox as the API shows it. */
export const runRecord = z.object({
  id: z.string(),
  /** `unreachable`: its runner is not connected. `lost`: its runner was given up. */
  status: z.enum(runStatuses),
  /** Why, where status is `error` or `lost`. */
  reason: z.string().optional(),
  name: z.string().optional(),
  labels,
  /** The image as it was asked for. */
  image: z.string(),
  /** What was booted for it. */
  resolved_image: z.string(),
  region: z.string(),
  vcpus: z.number(),
  mem_mib: z.number(),
  disk_mib: z.number(),
  timeout: z.number(),
  auto_resume: z.boolean(),
  on_idle: z.enum(['destroy', 'hibernate']),
  create_ms: z.number(),
  created_at: z.string(),
  /** The sandbox that it is a fork of. */
  forked_from: z.string().optional(),
  /** The snapshot that it was restored from. */
  restored_from: z.string().optional(),
  /** Where its ports are served: `{port}` stands for the port's number. Absent where the platform serves none. */
  url_template: z.string().optional(),
})
export type RunRecord = z.infer<typeof runRecord>

/** `GET /v1/runs`, newest first. With `limit` there may be more: ask again with `cursor`. */
export const runList = z.object({ runs: z.array(runRecord), next_cursor: z.string().optional() })
export type RunList = z.infer<typeof runList>

/** `POST /v1/runs/{id}/fork` */
export const forkRequest = z.object({ count: z.int().min(1).max(maxForkChildren).default(1) })
export type ForkRequest = z.infer<typeof forkRequest>

/** Those that came to be, and why the others did not. Only if none did is the answer an error. */
export const forkResponse = z.object({
  forks: z.array(runRecord),
  failed: z.array(z.object({ error: z.string(), code: z.string() })),
  /** How long the parent stood still. */
  pause_ms: z.number(),
})
export type ForkResponse = z.infer<typeof forkResponse>

/** `POST /v1/runs/restore`. What is not given is the snapshot's. */
export const restoreRequest = z.object({
  snapshot_id: z.string().min(1).max(128),
  timeout: idleTimeout.optional(),
  name: sandboxName.optional(),
  labels: labels.optional(),
  env: environment.optional(),
  auto_resume: z.boolean().optional(),
  on_idle: z.enum(['destroy', 'hibernate']).optional(),
})
export type RestoreRequest = z.infer<typeof restoreRequest>

/** `GET /v1/runs/{id}/usage` */
export const usageResponse = usage.extend({ cost_cents: z.number() })
export type UsageResponse = z.infer<typeof usageResponse>

/** `DELETE /v1/runs/{id}` */
export const destroyResponse = usage.extend({ status: z.literal('destroyed'), cost_cents: z.number() })
export type DestroyResponse = z.infer<typeof destroyResponse>

/** Every error's body. `error` is one line; `code` is of the error table. */
export const errorBody = z.object({
  error: z.string(),
  code: z.string(),
  hint: z.string().optional(),
  retryable: z.boolean(),
  request_id: z.string(),
})
export type ErrorBody = z.infer<typeof errorBody>
