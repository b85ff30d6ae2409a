/** The files of checkpoints: what they take, whether they are whole, and their removal. */

import { open, readdir, rm, rmdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { SandboxPaths } from '../paths.ts'
import { isSaved, removeSaved } from '../snapshot/folders.ts'
import { knownDigest } from '../snapshot/known-digests.ts'
import { damaged, partNames } from '../snapshot/manifest.ts'
import type { CapturedDisk, DiskCaptureOptions } from '../vm/driver.ts'
import type { DiskLayer } from '../vm/machine-state.ts'
import type { CheckpointManifest } from './manifest.ts'

/** What a machine hands out, and where it puts it. */
export type CaptureDisk = (options: DiskCaptureOptions) => Promise<CapturedDisk>

/** Bytes that the layers take and that neither other machines nor the checkpoint before it have. */
export async function ownBytes({ layers, shared }: CapturedDisk, before: string | undefined): Promise<number> {
  const known = new Set<number>()
  for (let number = 0; before !== undefined; number++) {
    const found = await stat(join(before, partNames.layer(number))).catch(() => undefined)
    if (!found) break
    known.add(found.ino)
  }
  const stats = await Promise.all(layers.slice(shared).map(({ file }) => stat(file)))
  return stats.filter(({ ino }) => !known.has(ino)).reduce((sum, { blocks }) => sum + blocks * 512, 0)
}

/** Forces the layers to the disk; resolves with their digests. */
export async function secured(folder: string, manifest: CheckpointManifest): Promise<CheckpointManifest['layers']> {
  const layers: CheckpointManifest['layers'] = []
  for (const [number, layer] of manifest.layers.entries()) {
    const file = join(folder, partNames.layer(number))
    await syncPath(file)
    layers.push({ ...layer, sha256: layer.sha256 ?? (await knownDigest(file)) })
  }
  return layers
}

/** The layers of a checkpoint that is ready. Throws `snapshot_damaged` unless they are what was kept. */
export async function provenLayers(folder: string, { layers }: CheckpointManifest): Promise<readonly DiskLayer[]> {
  return await Promise.all(
    layers.map(async ({ format, bytes, sha256 }, number) => {
      const file = join(folder, partNames.layer(number))
      const found = await stat(file).catch((cause: unknown) => {
        throw damaged('a layer of its disk is missing', cause)
      })
      if (found.size !== bytes) throw damaged(`a layer of its disk has ${found.size} bytes instead of ${bytes}`)
      const digest = await knownDigest(file).catch((cause: unknown) => {
        throw damaged('a layer of its disk cannot be read', cause)
      })
      if (digest !== sha256) throw damaged('a layer of its disk does not match its checksum')
      return { file, format, bytes, sha256 }
    }),
  )
}

/** Removes a checkpoint, and the folder of all if it was the last. Safe to repeat. */
export async function removeCheckpoint(paths: SandboxPaths, id: string): Promise<void> {
  await removeSaved(paths.checkpoint(id))
  await rmdir(paths.checkpoints).catch(() => undefined)
}

/** Removes what a crash left half made. */
export async function sweepCheckpoints(paths: SandboxPaths): Promise<void> {
  for (const name of await readdir(paths.checkpoints).catch(() => [])) {
    if (!(await isSaved(paths.checkpoint(name)))) await removeCheckpoint(paths, name)
    else await removeLeft(paths.checkpoint(name))
  }
}

/** A manifest that was about to replace the other. */
async function removeLeft(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (name.startsWith(`${partNames.manifest}.`)) await rm(join(folder, name), { force: true })
}

export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
