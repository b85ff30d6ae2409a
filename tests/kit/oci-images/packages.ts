/** Debian and npm packages whose files tests use, unpacked into the cache and never installed on the host. Each is fetched once. */

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ociFolder } from './image.ts'

const execute = promisify(execFile)

/** The folder with a Debian package's files. What it depends on is not there: it has to need nothing but the host's libc, or less. */
export async function debianPackage(name: string): Promise<string> {
  return await unpackedOnce(`debian-${name}`, async (work) => {
    await fetchDebian(name, work)
    const file = (await readdir(work)).find((entry) => entry.endsWith('.deb'))
    if (file === undefined) throw new Error(`cannot unpack ${name}: apt fetched nothing`)
    await execute('dpkg-deb', ['-x', join(work, file), join(work, 'files')])
  })
}

/** The folder with an npm package's files. */
export async function npmPackage(name: string, version: string, sha512: string): Promise<string> {
  return await unpackedOnce(`npm-${name.replaceAll('/', '-')}-${version}`, async (work) => {
    const { stdout } = await execute('npm', ['pack', `${name}@${version}`, '--silent', '--loglevel=error'], {
      cwd: work,
    })
    const file = join(work, stdout.trim().split('\n').at(-1) ?? '')
    const found = createHash('sha512')
      .update(await readFile(file))
      .digest('base64')
    if (found !== sha512)
      throw new Error(`cannot use ${name}: the registry served something other than the pinned package`)
    await mkdir(join(work, 'files'))
    await execute('tar', [
      '--extract',
      '--gzip',
      '--file',
      file,
      '--directory',
      join(work, 'files'),
      '--strip-components=1',
      '--no-same-owner',
    ])
  })
}

async function unpackedOnce(name: string, fill: (work: string) => Promise<void>): Promise<string> {
  const folder = join(ociFolder, name)
  if (await exists(folder)) return folder
  await mkdir(ociFolder, { recursive: true })
  const work = await mkdtemp(join(ociFolder, 'fetching-'))
  try {
    await fill(work)
    // Somebody else may have been faster.
    await rename(join(work, 'files'), folder).catch(async (error: unknown) => {
      if (!(await exists(folder))) throw error
    })
    return folder
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Lists that are already there usually do; old or absent ones are brought up to date, once. */
async function fetchDebian(name: string, work: string): Promise<void> {
  const download = () =>
    execute('apt-get', ['download', '--quiet', '-o', 'APT::Sandbox::User=root', name], { cwd: work })
  await download().catch(async () => {
    await execute('apt-get', ['update', '--quiet', '-o', 'Acquire::Retries=3'], { timeout: 300_000 })
    await download()
  })
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  )
}
