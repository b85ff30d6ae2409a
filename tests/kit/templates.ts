/**
 * Templates that the platforms of a test run share: booting a machine for one takes most of a platform's start. The first that needs one boots for it; when it
 * closes, what it made is kept, and those that open later begin with it. Nobody takes it on trust: a runner verifies what it finds, and its key says what it is of.
 *
 *   opening: give(state)   links what there is        closing: keep(state)   links what is new, under its name by a rename
 *
 * Only within one run of `npm test`, which makes the folder and removes it; elsewhere nothing is shared.
 */

import { randomUUID } from 'node:crypto'
import { link, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Where `npm test` keeps them. */
const shared = process.env.PORTICO_TEST_TEMPLATES

/** Gives a runner what there is. To be called before its first sandbox. */
export async function giveTemplates(stateDir: string): Promise<void> {
  if (!shared) return
  for (const key of await names(shared)) await linkFolder(join(shared, key), join(stateDir, 'templates'), key)
}

/** Keeps what a runner has that is new. To be called before its state goes. */
export async function keepTemplates(stateDir: string): Promise<void> {
  if (!shared) return
  const templates = join(stateDir, 'templates')
  const known = new Set(await names(shared))
  for (const key of await names(templates)) {
    const isWhole = (await names(join(templates, key))).includes('manifest.json')
    if (isWhole && !known.has(key)) await linkFolder(join(templates, key), shared, key)
  }
}

/** A second name for each file. Whoever comes first keeps the folder's. */
async function linkFolder(from: string, parent: string, key: string): Promise<void> {
  const partial = join(parent, `.${key}-${randomUUID()}`)
  await mkdir(partial, { recursive: true, mode: 0o700 })
  try {
    for (const name of await names(from)) await link(join(from, name), join(partial, name))
    await rename(partial, join(parent, key))
  } catch {
    // It has it by now, or what was to be linked is gone: then a machine is booted.
    await rm(partial, { recursive: true, force: true })
  }
}

async function names(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).filter((name) => !name.startsWith('.'))
}
