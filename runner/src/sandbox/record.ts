/**
 * What a restarted runner must know of a sandbox: one JSON file in the sandbox's folder, replaced as a whole. It decides what is true after a crash: a
 * machine that no record names is stopped, a saved state that no record names is removed.
 *
 *   running (machine)  ◀──▶  hibernated (saved-N)        both ──▶ error (reason)
 *
 * A sandbox that is still being created has none. One that is being hibernated is still `running` in it, one that is being resumed still `hibernated`.
 */

import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { sandboxSpec } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { usage } from '@portico/shared/usage'
import { z } from 'zod'
import { orDiskFull } from '../disk/full.ts'
import type { SandboxPaths } from '../paths.ts'
import { removeSaved } from '../snapshot/folders.ts'

const common = {
  schema: z.literal(1),
  sandbox: z.string(),
  generation: z.int().min(1),
  spec: sandboxSpec,
  resolvedImage: z.string(),
  createMs: z.number(),
  /** The number of the last saved state; they are never used twice. */
  saved: z.int().min(0),
  /** What the machines before this one used; all that was used, where there is no machine. */
  usage,
}

export const sandboxRecord = z.discriminatedUnion('state', [
  z.object({
    ...common,
    state: z.literal('running'),
    machine: z.object({ id: z.string(), slot: z.int().min(0) }),
    /** Milliseconds since the epoch at which the machine was ready. */
    since: z.number(),
  }),
  z.object({ ...common, state: z.literal('hibernated') }),
  z.object({ ...common, state: z.literal('error'), reason: z.string() }),
])
export type SandboxRecord = z.infer<typeof sandboxRecord>

/** What was found in the folder of one sandbox. */
export type FoundRecord =
  | { readonly id: string; readonly record: SandboxRecord }
  | { readonly id: string; readonly problem: AppError }

/**
 * Replaces the record: whoever reads it, even after a crash of this process, finds the old one or the new one. `durable` makes that hold for a crash of
 * the host, too, and takes some milliseconds: a machine that runs would not outlive that anyway.
 */
export async function writeRecord(file: string, record: SandboxRecord, durable: boolean): Promise<void> {
  const folder = dirname(file)
  const temporary = `${file}.new`
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeWhole(temporary, `${JSON.stringify(record)}\n`, durable)
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw orDiskFull(error, 'keep a record of the sandbox')
  }
  if (!durable) return
  await syncFolder(folder)
  await syncFolder(dirname(folder))
}

async function writeWhole(file: string, text: string, durable: boolean): Promise<void> {
  const handle = await open(file, 'w', 0o600)
  try {
    await handle.writeFile(text)
    if (durable) await handle.sync()
  } finally {
    await handle.close()
  }
}

/** All records of a state folder. A folder without a record is left of a creation that was not finished: it is removed. */
export async function readRecords(sandboxes: string, pathsOf: (id: string) => SandboxPaths): Promise<FoundRecord[]> {
  const found: FoundRecord[] = []
  for (const id of await readdir(sandboxes).catch(() => [])) {
    const paths = pathsOf(id)
    try {
      const record = sandboxRecord.parse(JSON.parse(await readFile(paths.record, 'utf8')))
      if (record.sandbox !== id) throw new AppError('internal', 'cannot use the record: it is of another sandbox')
      found.push({ id, record })
    } catch (error) {
      if (isMissing(error)) await rm(paths.folder, { recursive: true, force: true })
      else
        found.push({ id, problem: new AppError('internal', 'cannot read the record of a sandbox', { cause: error }) })
    }
  }
  return found
}

/** Removes the saved states of a sandbox, but for the one of this number. */
export async function clearSaved(paths: SandboxPaths, but?: number): Promise<void> {
  const kept = but === undefined ? undefined : paths.saved(but)
  for (const name of await readdir(paths.folder).catch(() => [])) {
    const path = join(paths.folder, name)
    if (name.startsWith('saved-') && path !== kept) await removeSaved(path)
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
