/** Third-party clients as their users install them: each at a pinned version, without optional dependencies, in a folder of their own. */

import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

export const clientsFolder = join(import.meta.dirname, 'clients')

const run = promisify(execFile)

/** Installs them unless what is installed is what the lock file says. */
export async function installClients(): Promise<void> {
  const [wanted, installed] = await Promise.all([
    versions('package-lock.json'),
    versions('node_modules/.package-lock.json'),
  ])
  if (installed === wanted) return
  await run('npm', ['ci', '--omit=optional', '--ignore-scripts', '--loglevel=error'], { cwd: clientsFolder })
}

/** The packages and versions that a lock file names, those left out aside. */
async function versions(file: string): Promise<string | undefined> {
  const text = await readFile(join(clientsFolder, file), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const { packages } = JSON.parse(text) as { packages: Record<string, { version?: string; optional?: boolean }> }
  const named = Object.entries(packages).filter(([name, { optional }]) => name !== '' && optional !== true)
  return JSON.stringify(named.map(([name, { version }]) => [name, version]).sort())
}
