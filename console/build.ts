/**
 * Bundles the page into `console/dist`: `index.html`, and in `assets/` a script, a style sheet and an icon that carry the hash of their content in
 * their names. `index.html` appears last, so whoever loads it meanwhile finds all that it names.
 *
 *   node console/build.ts [FOLDER]    FOLDER is console/dist unless told
 */

import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { build } from 'esbuild'

const here = import.meta.dirname
const output = resolve(process.argv[2] ?? join(here, 'dist'))
const assets = join(output, 'assets')

const { outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: { page: join(here, 'src', 'main.tsx') },
  outdir: assets,
  entryNames: '[name]-[hash]',
  chunkNames: 'part-[hash]',
  splitting: true,
  bundle: true,
  write: false,
  minify: true,
  format: 'esm',
  target: ['es2022', 'chrome111', 'firefox111', 'safari16.4'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  logLevel: 'error',
})
await mkdir(assets, { recursive: true })
const names: string[] = []
for (const { path, contents } of outputFiles) names.push(await put(basename(path), contents))
const icon = await readFile(join(here, 'icon.svg'))
names.push(await put(`icon-${createHash('sha256').update(icon).digest('hex').slice(0, 8)}.svg`, icon))

const named = (ending: string) =>
  `assets/${names.find((name) => name.endsWith(ending) && !name.startsWith('part-')) ?? ''}`
const template = await readFile(join(here, 'index.html'), 'utf8')
const html = template.replace('SCRIPT', named('.js')).replace('STYLE', named('.css')).replace('ICON', named('.svg'))
await writeFile(join(output, 'index.html.new'), html)
await rename(join(output, 'index.html.new'), join(output, 'index.html'))
for (const former of await readdir(assets)) {
  if (!names.includes(former)) await rm(join(assets, former), { force: true })
}

async function put(name: string, bytes: Uint8Array): Promise<string> {
  await writeFile(join(assets, name), bytes)
  return name
}
