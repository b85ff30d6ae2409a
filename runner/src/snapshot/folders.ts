/** Folders of saved states: which of them are complete, and the removal of what a crash left. */

import { access, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { partNames } from './manifest.ts'

/** Names of the saved states in `parent`; everything else in there is removed. A parent that does not exist has none. */
export async function sweepSaved(parent: string): Promise<string[]> {
  const names = await readdir(parent).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const kept: string[] = []
  for (const name of names) {
    if (await isSaved(join(parent, name))) kept.push(name)
    else await removeSaved(join(parent, name))
  }
  return kept
}

/** Whether the folder is a saved state: it has a manifest. */
export async function isSaved(folder: string): Promise<boolean> {
  return await access(join(folder, partNames.manifest)).then(
    () => true,
    () => false,
  )
}

/** Removes a saved state. The manifest goes first: half of a state is none. Safe to repeat. */
export async function removeSaved(folder: string): Promise<void> {
  await rm(join(folder, partNames.manifest), { force: true }).catch(() => undefined)
  await rm(folder, { recursive: true, force: true })
}
