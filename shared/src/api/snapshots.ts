/** Snapshots: `/v1/snapshots`. Field names are those of the documented Isorun API. */

import { z } from 'zod'

/** `POST /v1/runs/{id}/snapshot` */
export const snapshotResponse = z.object({
  snapshot_id: z.string(),
  run_id: z.string(),
  /** What it takes on its runner's disk beyond what it shares with its image. */
  size_bytes: z.number(),
  created_at: z.string(),
})
export type SnapshotResponse = z.infer<typeof snapshotResponse>

/** `GET /v1/snapshots`, newest first. */
export const snapshotList = z.object({
  snapshots: z.array(z.object({ id: z.string(), run_id: z.string(), size_bytes: z.number(), created_at: z.string() })),
})
export type SnapshotList = z.infer<typeof snapshotList>

/** `DELETE /v1/snapshots/{id}` */
export const snapshotDeleted = z.object({ id: z.string(), status: z.literal('deleted') })
