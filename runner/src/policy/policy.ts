/** What the operator of a runner allows: `portico.yaml`, whose fields, meanings and defaults are here. `read.ts` makes one of a text. */

import { z } from 'zod'

const count = (least: number, most: number) => z.int().min(least).max(most)
const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a name has letters, digits and . _ -')

/** What a sandbox of an image may ask for at most. */
export const imageCap = z.strictObject({
  max_cpus: count(1, 1024).optional(),
  max_memory_mb: count(1, 16_777_216).optional(),
})
export type ImageCap = z.infer<typeof imageCap>

/** One schema per field, so that each is told of by itself. */
export const policyFields = {
  /** Pull an image at the first create of it; otherwise it has to be there. */
  auto_install: z.boolean().default(true),
  /** Names and patterns that may be booted; empty is none. */
  image_allowlist: z.array(z.string().min(1).max(512)).max(1024).default([]),
  default_idle_timeout_secs: count(0, 31_536_000).default(300),
  max_concurrent_sandboxes: count(1, 1024).default(32),
  default_cpus: count(1, 1024).default(1),
  default_memory_mb: count(64, 16_777_216).default(512),
  per_image_caps: z.record(z.string().min(1), imageCap).default({}),
  /** Names of the operator's own for references. */
  custom_images: z.record(name, z.string().min(1).max(512)).default({}),
  /** What images from registries may take of the disk together. */
  image_cache_gb: z.number().min(0.1).max(1_000_000).default(20),
  /** A containers-auth.json; beside the policy, unless it is absolute. */
  registry_auth: z.string().min(1).optional(),
  /** `host[:port]` of registries that speak plain HTTP, or have a certificate that nobody knows. */
  insecure_registries: z.array(z.string().min(1)).max(64).default([]),
} as const
export type PolicyField = keyof typeof policyFields

/** Checked as a whole. */
export type Policy = Readonly<{ [Field in PolicyField]: z.output<(typeof policyFields)[Field]> }>

export function isPolicyField(text: string): text is PolicyField {
  return Object.hasOwn(policyFields, text)
}

/** Names that lead to an image without a registry, and can mean nothing else. */
export interface Reserved {
  readonly presets: readonly string[]
  readonly aliases: Readonly<Record<string, string>>
}

/** What Portico ships, whatever a host has built. */
export const shippedPresets = ['python', 'node'] as const
