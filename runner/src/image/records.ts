/**
 * What the store knows of its images, on disk: one small file an image, and one erofs file for all images of the same layers.
 *
 *   FOLDER/images/HEX.json      HEX of the SHA-256 of the name
 *   FOLDER/rootfs/HEX.erofs     HEX of the SHA-256 of the layers' digests
 *   FOLDER/….partial            work under way; what of it is there when a runner starts is removed
 *
 * A file gets its name by rename once it is whole and on disk; an erofs file comes before the record that names it, and goes after it.
 */

import { createHash, randomUUID } from 'node:crypto'
import { utimes } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { imageConfig } from '@portico/shared/control'
import { z } from 'zod'
import type { Logger } from '../log.ts'
import { removeTree } from './disk.ts'

const recordSchema = z.object({
  schema: z.literal(1),
  name: z.string(),
  digest: z.string(),
  rootfs: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  sizeBytes: z.number(),
  /** SHA-256 of the erofs file. */
  fileDigest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  config: imageConfig,
  /** Whole spellings that led here when they were last asked for. */
  references: z.array(z.string()),
})
/** When it was used last is the time of its file. */
export type ImageRecord = z.infer<typeof recordSchema> & { readonly usedAt: number }

export class Records {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async open(folder: string): Promise<Records> {
    for (const name of ['images', 'rootfs']) await mkdir(join(folder, name), { recursive: true, mode: 0o700 })
    return new Records(folder)
  }

  /** What is whole; everything else in the folder is removed. */
  async sweep(log: Logger): Promise<ImageRecord[]> {
    const found: ImageRecord[] = []
    for (const name of await readdir(join(this.#folder, 'images'))) {
      const file = join(this.#folder, 'images', name)
      const record = name.endsWith('.json') ? await this.#read(file) : undefined
      if (record && file === this.#recordFile(record.name)) found.push(record)
      else {
        log.warn({ file: name }, 'image.record.removed')
        await rm(file, { force: true })
      }
    }
    const used = new Set(found.map((record) => this.erofs(record.rootfs)))
    for (const name of await readdir(join(this.#folder, 'rootfs'))) {
      const file = join(this.#folder, 'rootfs', name)
      if (!used.has(file)) await rm(file, { force: true })
    }
    for (const name of await readdir(this.#folder))
      if (name.endsWith('.partial')) await removeTree(join(this.#folder, name))
    return found
  }

  /** The file of these layers, whether it is there or not. */
  erofs(rootfs: string): string {
    return join(this.#folder, 'rootfs', `${rootfs.slice('sha256:'.length)}.erofs`)
  }

  /** A folder to work in. */
  async work(): Promise<string> {
    const folder = join(this.#folder, `${randomUUID()}.partial`)
    await mkdir(folder, { mode: 0o700 })
    return folder
  }

  /** Takes a finished file in. */
  async adopt(file: string, rootfs: string): Promise<void> {
    await rename(file, this.erofs(rootfs))
    await syncFolder(join(this.#folder, 'rootfs'))
  }

  async write({ usedAt, ...record }: ImageRecord): Promise<void> {
    const file = this.#recordFile(record.name)
    const partial = `${file}.${randomUUID()}.partial`
    {
      await using handle = await open(partial, 'w', 0o600)
      await handle.writeFile(JSON.stringify(record))
      await handle.utimes(usedAt / 1000, usedAt / 1000)
      await handle.sync()
    }
    await rename(partial, file)
    await syncFolder(join(this.#folder, 'images'))
  }

  /** Notes a use; one that is lost costs an image its place in the order, no more. */
  touch(name: string, usedAt: number): void {
    utimes(this.#recordFile(name), usedAt / 1000, usedAt / 1000, () => undefined)
  }

  async remove(name: string): Promise<void> {
    await rm(this.#recordFile(name), { force: true })
  }

  async removeErofs(rootfs: string): Promise<void> {
    await rm(this.erofs(rootfs), { force: true })
  }

  #recordFile(name: string): string {
    return join(this.#folder, 'images', `${createHash('sha256').update(name).digest('hex')}.json`)
  }

  async #read(file: string): Promise<ImageRecord | undefined> {
    try {
      const record = recordSchema.parse(JSON.parse(await readFile(file, 'utf8')))
      if ((await stat(this.erofs(record.rootfs))).size !== record.sizeBytes) return undefined
      return { ...record, usedAt: (await stat(file)).mtimeMs }
    } catch {
      return undefined
    }
  }
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r')
  await handle.sync()
}

/** Identity of layers on top of each other. */
export function rootfsOf(diffIds: readonly string[]): string {
  return `sha256:${createHash('sha256').update(diffIds.join('\n')).digest('hex')}`
}
