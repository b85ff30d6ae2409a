/**
 * `npm run build`: what users of the package import. `dist/index.js` is one ES module for Node 20, Deno, Workers and browsers, with the shared contract
 * inside and zod (half a megabyte, and often there already) outside; `dist/*.d.ts` are its types, which name nothing that users do not have.
 *
 *   node sdk/build.ts [FOLDER]    FOLDER is sdk/dist unless told
 */

import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { errorCodes } from '@portico/shared/errors'
import { build } from 'esbuild'

const here = import.meta.dirname
const output = resolve(process.argv[2] ?? join(here, 'dist'))

await mkdir(output, { recursive: true })
const work = await mkdtemp(join(output, '.new-'))
try {
  const made = [await bundle(), ...(await declarations())]
  // Each file appears whole, so that a program that starts in the middle of a build finds the old or the new one.
  for (const file of made) await rename(file, join(output, basename(file)))
} finally {
  await rm(work, { recursive: true, force: true })
}

async function bundle(): Promise<string> {
  const outfile = join(work, 'index.js')
  await build({
    absWorkingDir: here,
    entryPoints: [join(here, 'src', 'index.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    target: 'node20',
    external: ['zod'],
    logLevel: 'error',
  })
  return outfile
}

/** The declarations that `index.d.ts` leads to. */
async function declarations(): Promise<string[]> {
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
  const compiler = [join(dirname(typescript), 'bin', 'tsc'), '-p', join(here, 'tsconfig.build.json'), '--outDir', work]
  const { status } = spawnSync(process.execPath, compiler, { stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error('cannot build the SDK: its types do not compile')
  const made = new Map<string, string>()
  const waiting = ['index']
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (made.has(name)) continue
    const emitted = await readFile(join(work, 'sdk', 'src', `${name}.d.ts`), 'utf8')
    made.set(name, join(work, `${name}.d.ts`))
    await writeFile(join(work, `${name}.d.ts`), standalone(emitted, name))
    waiting.push(...[...emitted.matchAll(/from '\.\/([\w-]+)\.ts'/g)].map((found) => found[1] ?? ''))
  }
  return [...made.values()]
}

/** A declaration without what only this checkout has: `.ts` in imports, and the shared folder. */
function standalone(text: string, name: string): string {
  const codes = errorCodes.map((code) => `'${code}'`).join(' | ')
  const alone = text
    .replaceAll(/from '(\.\/[\w-]+)\.ts'/g, "from '$1.js'")
    .replace(/import type \{ ErrorCode \} from '@portico\/shared\/errors';/, `type ErrorCode = ${codes};`)
  if (/(from |import\()'@portico\//.test(alone))
    throw new Error(`cannot build the SDK: the types of ${name} name a folder of this checkout`)
  return name === 'index' ? `/// <reference lib="esnext.disposable" />\n${alone}` : alone
}
