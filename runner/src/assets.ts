/** What set-up built: read once, checked, and frozen. A missing file is told as "run the set-up", not as a path that does not open. */

import { readFile } from 'node:fs/promises'
import { AppError } from '@portico/shared/errors'
import { z } from 'zod'

const imageAsset = z.object({
  erofs: z.string(),
  digest: z.string(),
  env: z.record(z.string(), z.string()).default({}),
  workdir: z.string().default('/'),
})
export type ImageAsset = z.infer<typeof imageAsset>

const assetsSchema = z.object({
  schema: z.literal(1),
  /** QEMU, its libraries and firmware. */
  vmmRoot: z.string(),
  kernel: z.string(),
  kernelVersion: z.string(),
  initramfs: z.string(),
  agentVersion: z.string(),
  qemuVersion: z.string(),
  images: z.record(z.string(), imageAsset),
})
export type Assets = Readonly<z.infer<typeof assetsSchema>>

/** Reads the list that set-up wrote. */
export async function loadAssets(file: string): Promise<Assets> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new AppError('invalid_request', 'cannot find what set-up builds: run the set-up first', { cause })
  })
  try {
    return Object.freeze(assetsSchema.parse(JSON.parse(text)))
  } catch (cause) {
    throw new AppError('invalid_request', 'cannot use what set-up built: run the set-up again', { cause })
  }
}

/** The preset behind a name that a caller gave, or undefined. Aliases lead to presets only, not to each other. */
export function resolveImage(
  name: string,
  presets: readonly string[],
  aliases: Readonly<Record<string, string>>,
): string | undefined {
  if (presets.includes(name)) return name
  const target = Object.hasOwn(aliases, name) ? aliases[name] : undefined
  return target !== undefined && presets.includes(target) ? target : undefined
}
