/** Which image each snapshot of this host is of: what they are made of may not be removed. */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { StatePaths } from '../paths.ts'
import { parseManifest, partNames } from '../snapshot/manifest.ts'

export class SnapshotImages {
  readonly #names = new Map<string, string>()

  /** Reads what is there. One that cannot be read cannot be restored either, so it needs no image. */
  async read(paths: Pick<StatePaths, 'snapshots' | 'snapshot'>): Promise<void> {
    for (const id of await readdir(paths.snapshots).catch(() => [])) {
      const name = await imageOf(paths.snapshot(id))
      if (name !== undefined) this.#names.set(id, name)
    }
  }

  add(id: string, image: string): void {
    this.#names.set(id, image)
  }

  remove(id: string): void {
    this.#names.delete(id)
  }

  names(): Iterable<string> {
    return this.#names.values()
  }
}

async function imageOf(folder: string): Promise<string | undefined> {
  try {
    return parseManifest(await readFile(join(folder, partNames.manifest), 'utf8')).shape.image.name
  } catch {
    return undefined
  }
}
