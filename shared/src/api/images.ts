/** Images: those that runners can boot, and those of an account, pulled or built: `/v1/images`. */

import { z } from 'zod'
import { imageConfig, pullPhases } from '../control/images.ts'

/** What an account calls an image: `name` or `name:tag`; without a tag it is `latest`. */
export const imageName = z
  .string()
  .regex(/^[a-z0-9]+(?:[._-][a-z0-9]+)*$/, 'a name has small letters, digits and single . _ -')
  .max(64)
export const imageTag = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/, 'a tag has letters, digits and . _ -')

const variables = z
  .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a name has letters, digits and _'), z.string().max(32_768))
  .refine((map) => Object.keys(map).length <= 256, 'at most 256 variables')

/** A command of a build, run by the shell; a string is its `run` alone. */
export const buildStep = z.union([
  z
    .string()
    .min(1)
    .max(65_536)
    .transform((run) => ({ run })),
  z.object({
    run: z.string().min(1).max(65_536),
    env: variables.optional(),
    workdir: z.string().startsWith('/').optional(),
    user: z.string().min(1).max(64).optional(),
    /** Seconds; 600 unless given. */
    timeout: z.int().min(1).max(3600).optional(),
  }),
])
export type BuildStep = z.output<typeof buildStep>

/** A file that is in the sandbox before the first step. */
export const buildFile = z.object({
  path: z.string().startsWith('/'),
  /** Base64. */
  content: z.base64().max(1_400_000),
  mode: z
    .string()
    .regex(/^0?[0-7]{3,4}$/, 'a mode is octal, such as 0644')
    .optional(),
})

/** `POST /v1/images`: pulls what `reference` names, or builds `name` by `steps` in a sandbox of `from` and keeps the sandbox as it is then, processes included. */
export const pullImageRequest = z.strictObject({
  reference: z.string().min(1).max(512),
  name: imageName.optional(),
  tag: imageTag.optional(),
})
export const buildImageRequest = z.strictObject({
  name: imageName,
  tag: imageTag.optional(),
  /** The image that it begins from. */
  from: z.string().min(1).max(512).default('python'),
  steps: z.array(buildStep).max(64).default([]),
  env: variables.default({}),
  files: z.array(buildFile).max(64).default([]),
  vcpus: z.int().min(1).max(8).default(1),
  mem_mib: z.int().min(128).max(32_768).default(1024),
  disk_mib: z.int().min(64).max(1_048_576).default(4096),
  /** A command that is started after the steps and goes on in each sandbox of the image. */
  start: z.string().min(1).max(65_536).optional(),
  /** The image is ready once something listens there. */
  ready_port: z.int().min(1).max(65_535).optional(),
})
export const imageRequest = z.union([pullImageRequest, buildImageRequest])
export type ImageRequest = z.output<typeof imageRequest>
export type BuildImageRequest = z.output<typeof buildImageRequest>

export const imageStatuses = ['pulling', 'building', 'ready', 'failed'] as const

/** An image of an account. `name` and `tag` are what `image` takes when a sandbox is created; a pulled one that has no name goes by its reference. */
export const imageRecord = z.object({
  id: z.string(),
  kind: z.enum(['pull', 'build']),
  status: z.enum(imageStatuses),
  /** Why, where status is `failed`. */
  reason: z.string().optional(),
  code: z.string().optional(),
  name: z.string().optional(),
  tag: z.string().optional(),
  /** With registry and tag, of a pulled one. */
  reference: z.string().optional(),
  /** With registry and digest, of a pulled one. */
  resolved: z.string().optional(),
  /** What a built one begins from, and the machine that it is of. */
  from: z.string().optional(),
  vcpus: z.int().optional(),
  mem_mib: z.int().optional(),
  disk_mib: z.int().optional(),
  config: imageConfig.optional(),
  size_bytes: z.number(),
  created_at: z.string(),
  /** How long each phase took. */
  took_ms: z.record(z.string(), z.number()).optional(),
})
export type ImageRecord = z.infer<typeof imageRecord>

/** `GET /v1/images`: the names that a connected runner of the key's region can boot, in alphabetical order, and the account's own. */
export const imageList = z.object({ images: z.array(z.string()), own: z.array(imageRecord) })
export type ImageList = z.infer<typeof imageList>

/** `GET /v1/images/{id}/events`, server-sent; from the first, then as they come, until `ready` or `failed`. `id` of an event is its number. */
export const imageEvent = z.discriminatedUnion('event', [
  z.object({
    event: z.literal('progress'),
    phase: z.enum([...pullPhases, 'create', 'files', 'step', 'start', 'snapshot']),
    done_bytes: z.number().optional(),
    total_bytes: z.number().optional(),
    /** Number of the step, from 1, and its command. */
    step: z.int().optional(),
    command: z.string().optional(),
  }),
  /** What a step printed. */
  z.object({ event: z.literal('output'), stream: z.enum(['stdout', 'stderr']), text: z.string() }),
  z.object({ event: z.literal('ready'), image: imageRecord }),
  z.object({ event: z.literal('failed'), error: z.string(), code: z.string() }),
])
export type ImageEvent = z.infer<typeof imageEvent>
