/** What an account may use and has used: usage, history, audit key. Field names of usage and history are those of the documented Isorun API. */

import { z } from 'zod'
import { runStatuses } from './runs.ts'

/** `GET /v1/usage`, over all regions of the account. Total is active and history; `mem_seconds` are GiB-seconds. */
export const accountUsage = z.object({
  active_sandboxes: z.number(),
  history_sandboxes: z.number(),
  active_cost_cents: z.number(),
  history_cost_cents: z.number(),
  total_cost_cents: z.number(),
  cpu_seconds: z.number(),
  mem_seconds: z.number(),
  as_of: z.string(),
})
export type AccountUsage = z.infer<typeof accountUsage>

/** One sandbox that is over. */
export const historyItem = z.object({
  id: z.string(),
  /** `destroyed`, or `lost` with its runner. */
  status: z.enum(runStatuses),
  reason: z.string().optional(),
  name: z.string().optional(),
  image: z.string(),
  vcpus: z.number(),
  mem_mib: z.number(),
  region: z.string(),
  create_ms: z.number(),
  created_at: z.string(),
  destroyed_at: z.string(),
  uptime_ms: z.number(),
  cpu_ms: z.number(),
  mem_peak_bytes: z.number(),
  cost_cents: z.number(),
})
export type HistoryItem = z.infer<typeof historyItem>

/** `GET /v1/runs/history`, newest first by their end; `cursor` leads to the older ones. */
export const history = z.object({ sandboxes: z.array(historyItem), next_cursor: z.string().optional() })
export type History = z.infer<typeof history>

/** One line of `GET /v1/runs/{id}/audit`. */
export const auditEntry = z.object({
  /** From 0, without gaps. */
  seq: z.int().min(0),
  /** RFC 3339 with milliseconds. */
  ts: z.string(),
  sandbox_id: z.string(),
  event: z.string(),
  data: z.record(z.string(), z.unknown()),
  /** `sha256:` and the hex of HMAC-SHA256(key, previous entry's hex ‖ "\n" ‖ RFC 8785 JSON of the entry without `hmac`); before the first stand 64 zeros. */
  hmac: z.string(),
})
export type AuditEntry = z.infer<typeof auditEntry>

/** `GET /v1/audit/key`: what the account's audit entries are verified with, in hex. */
export const auditKey = z.object({ algorithm: z.literal('HMAC-SHA256'), key: z.string() })
export type AuditKey = z.infer<typeof auditKey>

/** What an account may have at once, in all regions together. null is no limit. */
export const accountLimits = z.object({
  /** Sandboxes that are not hibernated. */
  sandboxes: z.int().min(0).nullable(),
  vcpus: z.int().min(0).nullable(),
  mem_mib: z.int().min(0).nullable(),
  snapshots: z.int().min(0).nullable(),
  /** A bucket holds as many as one second's. */
  requests_per_second: z.int().min(1).nullable(),
})
export type AccountLimits = z.infer<typeof accountLimits>
