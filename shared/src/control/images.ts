/** What crosses between edge and runner about images. */

import { z } from 'zod'

/** What programs of an image start with, as its author set it. */
export const imageConfig = z.object({
  env: z.record(z.string(), z.string()),
  workdir: z.string(),
  /** Empty is root. */
  user: z.string(),
  entrypoint: z.array(z.string()),
  cmd: z.array(z.string()),
})
export type ImageConfig = z.infer<typeof imageConfig>

/** An image that a runner has. */
export const runnerImage = z.object({
  /** With registry and digest, such as `docker.io/library/alpine@sha256:…`: what a sandbox of it says as `resolved_image`, and what a runner takes as `image`. */
  name: z.string(),
  /** As it was asked for, with registry and tag. */
  reference: z.string(),
  /** Of the manifest for this runner's kind of processor. */
  digest: z.string(),
  /** Of the file that machines boot from. */
  size_bytes: z.number(),
  config: imageConfig,
})
export type RunnerImage = z.infer<typeof runnerImage>

export const pullPhases = ['resolve', 'pull', 'unpack', 'erofs'] as const

/** A line of the answer to `image.pull`: NDJSON, the last line is `done` or `error`. */
export const pullProgress = z.discriminatedUnion('event', [
  z.object({
    event: z.literal('progress'),
    phase: z.enum(pullPhases),
    done_bytes: z.number().optional(),
    total_bytes: z.number().optional(),
  }),
  z.object({ event: z.literal('done'), image: runnerImage, took_ms: z.record(z.string(), z.number()) }),
  z.object({ event: z.literal('error'), error: z.object({ code: z.string(), message: z.string() }) }),
])
export type PullProgress = z.infer<typeof pullProgress>

/** What a runner gives to a sandbox whose creator says nothing, and what of its policy callers are told. */
export const runnerPolicy = z.object({
  default_cpus: z.int(),
  default_memory_mb: z.int(),
  default_idle_timeout_secs: z.int(),
  max_concurrent_sandboxes: z.int(),
  /** What may be booted by name: presets and custom images that are on the allowlist. */
  catalog: z.array(z.object({ name: z.string(), oci_ref: z.string(), kind: z.enum(['preset', 'custom']) })).max(256),
})
export type RunnerPolicy = z.infer<typeof runnerPolicy>
