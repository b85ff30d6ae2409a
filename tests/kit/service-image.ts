/**
 * Images with real services for tests, beside the presets: `services`, the preset `python` with PostgreSQL, Redis and pgbouncer, and `containers`, small, with
 * Node, a server at `/server.js` and Redis. Built once on a host, in about half a minute, and then found.
 */

import { execFile } from 'node:child_process'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { paths } from '@portico/deploy/checkout'

const names = ['services', 'containers'] as const
const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Names under which a caller may know these images. */
export const serviceAliases: Readonly<Record<string, string>> = {
  'node:20-slim': 'containers',
  'redis:7': 'services',
  'postgres:17': 'services',
}

/** Of `testPlatform({ runnerSettings: [await serviceSettings()] })`: a runner that has these images and the presets. */
export async function serviceSettings(): Promise<Readonly<Record<string, unknown>>> {
  return { assets: await serviceAssets(), imageAliases: serviceAliases }
}

/** The file for PORTICO_ASSETS (`assets` of a runner): all that set-up built, and these images. */
export async function serviceAssets(): Promise<string> {
  const script = join(import.meta.dirname, 'service-image', 'setup.sh')
  const { stdout } = await promisify(execFile)('bash', [script], { timeout: 1_800_000, maxBuffer: 1 << 26 })
  const folder = stdout.trim()
  const assets = JSON.parse(await readFile(paths.assets, 'utf8')) as { images: Record<string, object> }
  for (const name of names) {
    const digest = `sha256:${await readFile(join(folder, `${name}.sha256`), 'utf8')}`
    const env = { PATH: path, LANG: 'C.UTF-8' }
    assets.images[name] = { erofs: join(folder, `${name}.erofs`), digest, env, workdir: '/' }
  }
  const file = join(folder, 'assets.json')
  const partial = `${file}.${process.pid}.partial`
  await writeFile(partial, `${JSON.stringify(assets, undefined, 2)}\n`)
  await rename(partial, file)
  return file
}
