/**
 * `manifest.json` of a saved state: what the folder holds, down to the digest of every part. It is written last, so a folder that has one is complete;
 * it carries a digest of itself, so no part of what is saved can change unseen.
 */

import { createHash } from 'node:crypto'
import { AppError } from '@portico/shared/errors'
import { z } from 'zod'

/** Another number is another format: it is refused, never guessed at. */
export const formatNumber = 1

/** Names in the folder. */
export const partNames = {
  manifest: 'manifest.json',
  base: 'base',
  device: 'device',
  pages: 'pages',
  runs: 'runs',
  layer: (number: number) => `layer-${number}`,
} as const

export const savedKinds = ['template', 'snapshot', 'hibernation'] as const
export type SavedKind = (typeof savedKinds)[number]

const part = z.object({ bytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) })
export type Part = z.infer<typeof part>

export const machineShape = z.object({
  image: z.object({ name: z.string(), digest: z.string() }),
  kernel: z.string(),
  agent: z.string(),
  vcpus: z.int().positive(),
  memoryMib: z.int().positive(),
  diskMib: z.int().positive(),
})

const manifestSchema = z.object({
  format: z.literal(formatNumber),
  kind: z.enum(savedKinds),
  /** Of the sandbox that it was saved from; 0 for a template. */
  generation: z.int().nonnegative(),
  versions: z.object({ accelerator: z.enum(['kvm', 'tcg']), qemu: z.string(), cpu: z.string() }),
  shape: machineShape,
  /** Variables that the sandbox was created with. */
  env: z.record(z.string(), z.string()).default({}),
  base: part,
  device: part,
  pages: part,
  runs: part,
  layers: z.array(part.extend({ format: z.enum(['raw', 'qcow2']) })),
})
export type Manifest = z.infer<typeof manifestSchema>

const sealed = z.object({ manifest: z.object({ format: z.int() }).loose(), sha256: z.string() })

/** The file's text. */
export function sealManifest(manifest: Manifest): string {
  return seal(manifest)
}

/** Any manifest with its own digest. */
export function seal(manifest: { readonly format: number }): string {
  return `${JSON.stringify({ manifest, sha256: digestOf(manifest) })}\n`
}

/** The manifest in the file's text. Throws `snapshot_damaged`, or `snapshot_incompatible` for another format. */
export function parseManifest(text: string): Manifest {
  return unseal(text, manifestSchema)
}

/** The manifest that `seal` made the text of, if it is of this format. */
export function unseal<Schema extends z.ZodType>(text: string, schema: Schema): z.infer<Schema> {
  const { manifest, sha256 } = parsed(() => sealed.parse(JSON.parse(text)))
  if (digestOf(manifest) !== sha256) throw damaged('its manifest does not match its own checksum')
  if (manifest.format !== formatNumber)
    throw new AppError(
      'snapshot_incompatible',
      `cannot use what was saved: it has format ${manifest.format}, this runner knows ${formatNumber}`,
    )
  return parsed(() => schema.parse(manifest))
}

export function damaged(why: string, cause?: unknown): AppError {
  return new AppError('snapshot_damaged', `cannot use what was saved: ${why}`, { cause })
}

function digestOf(manifest: object): string {
  return createHash('sha256').update(JSON.stringify(manifest)).digest('hex')
}

function parsed<Value>(parse: () => Value): Value {
  try {
    return parse()
  } catch (cause) {
    throw damaged('its manifest cannot be read', cause)
  }
}
