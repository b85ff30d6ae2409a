/**
 * `/v1/runs/{id}/checkpoints…`, and the same below a sandbox's own host as `/v1/checkpoints…`: the file system of one moment, kept beside the sandbox
 * until it is deleted or the sandbox destroyed. Memory is not in it; services that run are noted.
 */

import { z } from 'zod'

/** `POST …/checkpoints`. With `wait` it answers once the checkpoint is on the disk for good. */
export const checkpointRequest = z.object({ name: z.string().max(128).default(''), wait: z.boolean().default(false) })
export type CheckpointRequest = z.input<typeof checkpointRequest>

export const checkpointCreated = z.object({
  ok: z.literal(true),
  checkpoint_id: z.string(),
  name: z.string(),
  created_at: z.string(),
  /** What it takes beyond the checkpoint before it (or beyond the image). */
  size_bytes: z.number(),
  /** The whole call in the runner. */
  copy_duration_ms: z.number(),
  /** How long writers in the sandbox stood still. */
  pause_ms: z.number(),
  /** Whether it is on the disk for good already. */
  ready: z.boolean(),
})
export type CheckpointCreated = z.infer<typeof checkpointCreated>

/** `GET …/checkpoints`, oldest first; works while the sandbox sleeps. */
export const checkpointList = z.object({
  checkpoints: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      created_at: z.string(),
      size_bytes: z.number(),
      /** Such as `12.3 MB`. */
      size_human: z.string(),
      ready: z.boolean(),
    }),
  ),
})
export type CheckpointList = z.infer<typeof checkpointList>

/** `POST …/checkpoints/wait`: answers when it is on the disk for good. */
export const checkpointWait = z.object({ checkpoint_id: z.string() })
export const checkpointReady = z.object({ ok: z.literal(true), checkpoint_id: z.string(), size_bytes: z.number() })
export type CheckpointReady = z.infer<typeof checkpointReady>

/**
 * `POST …/checkpoints/{checkpoint}/restore`: the same sandbox with the files of that moment. Its processes end; services that ran at that moment are
 * started again. When it fails the sandbox is as it was before.
 */
export const checkpointRestored = z.object({
  ok: z.literal(true),
  checkpoint_id: z.string(),
  restore_duration_ms: z.number(),
  /** Ran at the time of the checkpoint and run now. */
  started_services: z.array(z.string()),
  /** Ran before the restore, but not at the time of the checkpoint. */
  stopped_services: z.array(z.string()),
  /** Ran at the time of the checkpoint and could not be started. */
  failed_services: z.array(z.string()),
})
export type CheckpointRestored = z.infer<typeof checkpointRestored>

/** `DELETE …/checkpoints/{checkpoint}` */
export const checkpointDeleted = z.object({ ok: z.literal(true), deleted: z.literal(true) })
