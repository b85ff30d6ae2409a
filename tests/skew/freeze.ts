/**
 * Freezes a generation: bundles the Worker and a runner on fake machines, as they are in a checkout, into one file each, for the generations after it
 * to be tested against.
 *
 *   node tests/skew/freeze.ts --to tests/skew/frozen-N [--root CHECKOUT]
 */

import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type BuildOptions, build, type Plugin } from 'esbuild'

const here = resolve(import.meta.dirname, '../..')

/** The text of the runner's entry is this checkout's, so that a generation without one can be frozen as well. */
const runnerEntry = join(here, 'runner/src/testing/fake-runner.ts')

/** Of the schema library's languages the one that is used: the others are half of a bundle. */
const oneLanguage: Plugin = {
  name: 'one language',
  setup: ({ onLoad }) =>
    onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js'",
      resolveDir: join(here, 'node_modules/zod/v4/locales'),
    })),
}

const { values } = parseArgs({ options: { to: { type: 'string' }, root: { type: 'string', default: here } } })
if (values.to === undefined) throw new Error('usage: node tests/skew/freeze.ts --to FOLDER [--root CHECKOUT]')
await freeze(resolve(values.root), resolve(values.to))

async function freeze(root: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true })
  await bundle(join(to, 'worker.mjs'), {
    entryPoints: [join(root, 'edge/src/worker.ts')],
    target: 'es2024',
    conditions: ['portico-source', 'workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'],
  })
  await bundle(join(to, 'runner.mjs'), {
    stdin: {
      contents: await readFile(runnerEntry, 'utf8'),
      resolveDir: join(root, 'runner/src/testing'),
      sourcefile: 'fake-runner.ts',
      loader: 'ts',
    },
    platform: 'node',
    target: 'node24',
    conditions: ['portico-source'],
    // The libraries in it that are CommonJS ask for Node's own modules by this name.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  })
  await bundle(join(to, 'hash-worker.mjs'), {
    entryPoints: [join(root, 'runner/src/snapshot/hash-worker.ts')],
    platform: 'node',
    target: 'node24',
    conditions: ['portico-source'],
  })
  // The thread is started by its file's name, which no bundler sees.
  const runner = join(to, 'runner.mjs')
  await writeFile(runner, (await readFile(runner, 'utf8')).replaceAll('./hash-worker.ts', './hash-worker.mjs'))
}

async function bundle(outfile: string, options: BuildOptions): Promise<void> {
  await build({
    ...options,
    outfile,
    bundle: true,
    format: 'esm',
    minify: true,
    legalComments: 'none',
    plugins: [oneLanguage],
    logLevel: 'error',
  })
  const { size } = await stat(outfile)
  process.stdout.write(`${outfile}: ${Math.ceil(size / 1024)} KB\n`)
}
