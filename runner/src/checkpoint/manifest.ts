/**
 * `manifest.json` of a checkpoint. It is written twice, each time by a rename: when the links to the disk's layers stand, and once more when all of them
 * are on the disk for good and their digests are known (`ready`). A folder without one is no checkpoint.
 */

import { randomBytes } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { base32 } from '@portico/shared/ids'
import { z } from 'zod'
import { serviceState } from '../guest/checkpoint.ts'
import { formatNumber, machineShape, partNames, seal, unseal } from '../snapshot/manifest.ts'

const layer = z.object({
  format: z.enum(['raw', 'qcow2']),
  bytes: z.int().nonnegative(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
})

const checkpointManifest = z.object({
  format: z.literal(formatNumber),
  kind: z.literal('checkpoint'),
  checkpoint: z.string(),
  /** Counts the checkpoints of one sandbox: they may be made within one millisecond. */
  number: z.int().positive(),
  name: z.string(),
  created_at: z.string(),
  size_bytes: z.number(),
  copy_ms: z.number(),
  pause_ms: z.number(),
  shape: machineShape,
  /** Bottom first. */
  layers: z.array(layer).min(1),
  /** As the agent told them: what is defined, and what of it ran. */
  services: z.array(serviceState),
  ready: z.boolean(),
})
export type CheckpointManifest = z.infer<typeof checkpointManifest>

/** Throws `checkpoint_not_found`, or what is wrong with it. */
export async function readCheckpoint(folder: string): Promise<CheckpointManifest> {
  let text: string
  try {
    text = await readFile(join(folder, partNames.manifest), 'utf8')
  } catch (cause) {
    // Anything else says nothing about whether there is one.
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')) throw cause
    throw new AppError('checkpoint_not_found', 'cannot find the checkpoint of this sandbox', { cause })
  }
  return unseal(text, checkpointManifest)
}

/** Replaces the manifest: whoever reads it finds the old one or the new one. `durable` makes that hold for a crash of the host, too. */
export async function writeCheckpoint(folder: string, manifest: CheckpointManifest, durable: boolean): Promise<void> {
  const file = join(folder, partNames.manifest)
  const temporary = `${file}.${base32(randomBytes(5))}`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(seal(manifest))
      if (durable) await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
