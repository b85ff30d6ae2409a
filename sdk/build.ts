/**
 * `npm run build`: what users of the package import. `dist/{index,admin,iris}.js` are ES modules for Node 20, Deno, Workers and browsers, which
 * share `dist/common-*.js` (so an error of the one is an instance of the other's class), with the shared contract inside and zod (half a megabyte, and
 * often there already) outside; `dist/*.d.ts` are their types, which name nothing that users do not have.
 *
 *   node sdk/build.ts [FOLDER]    FOLDER is sdk/dist unless told
 */

import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { errorCodes } from '@portico/shared/errors'
import { build } from 'esbuild'

const here = import.meta.dirname
/** What users import. */
const entries = ['index', 'admin', 'iris']
/** What a declaration says of another one. */
const relative = /from '(\.\.?\/[\w/-]+)\.ts'/g
const output = resolve(process.argv[2] ?? join(here, 'dist'))

await mkdir(output, { recursive: true })
const work = await mkdtemp(join(output, '.new-'))
try {
  const made = [...(await bundle()), ...(await declarations())]
  // Each file appears whole, so that a program that starts in the middle of a build finds the old or the new one.
  for (const file of made) await rename(file, join(output, basename(file)))
  const names = new Set(made.map((file) => basename(file)))
  const former = (await readdir(output)).filter((name) => name.startsWith('common-') && !names.has(name))
  for (const name of former) await rm(join(output, name), { force: true })
} finally {
  await rm(work, { recursive: true, force: true })
}

/** The modules; what is shared comes before those that import it. */
async function bundle(): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: here,
    entryPoints: entries.map((name) => join(here, 'src', `${name}.ts`)),
    outdir: work,
    splitting: true,
    chunkNames: 'common-[hash]',
    metafile: true,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    target: 'node20',
    external: ['zod'],
    logLevel: 'error',
  })
  const files = Object.keys(metafile.outputs).map((file) => join(work, basename(file)))
  return files.sort((one, other) => Number(isEntry(one)) - Number(isEntry(other)))
}

function isEntry(file: string): boolean {
  return entries.some((name) => basename(file) === `${name}.js`)
}

/** The declarations that those of the entries lead to. */
async function declarations(): Promise<string[]> {
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
  const compiler = [join(dirname(typescript), 'bin', 'tsc'), '-p', join(here, 'tsconfig.build.json'), '--outDir', work]
  const { status } = spawnSync(process.execPath, compiler, { stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error('cannot build the SDK: its types do not compile')
  const made = new Map<string, string>()
  const waiting = [...entries]
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (made.has(name)) continue
    const emitted = await readFile(join(work, 'sdk', 'src', `${name}.d.ts`), 'utf8')
    made.set(name, join(work, `${flat(name)}.d.ts`))
    await writeFile(join(work, `${flat(name)}.d.ts`), standalone(emitted, name))
    waiting.push(...[...emitted.matchAll(relative)].map((found) => named(name, found[1] ?? '')))
  }
  return [...made.values()]
}

/** The name below `src` of what `from` imports. */
function named(from: string, path: string): string {
  return join(dirname(from), path)
}

/** All declarations lie in one folder. */
function flat(name: string): string {
  return name.replaceAll('/', '-')
}

/** A declaration without what only this checkout has: `.ts` in imports, and the shared folder. */
function standalone(text: string, name: string): string {
  const codes = errorCodes.map((code) => `'${code}'`).join(' | ')
  const alone = text
    .replaceAll(relative, (_whole, path: string) => `from './${flat(named(name, path))}.js'`)
    .replace(/import type \{ ErrorCode \} from '@portico\/shared\/errors';/, `type ErrorCode = ${codes};`)
  if (/(from |import\()'@portico\//.test(alone))
    throw new Error(`cannot build the SDK: the types of ${name} name a folder of this checkout`)
  return entries.includes(name) ? `/// <reference lib="esnext.disposable" />\n${alone}` : alone
}
