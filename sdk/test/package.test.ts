/** The package as its users get it: built, alone in a folder with zod, without the checkout around it. */

import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WireServer } from './wire-server.ts'

const run = promisify(execFile)
const sdk = join(import.meta.dirname, '..')
const folderOf = (name: string) => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`))

let home: string
let installed: string
let wire: WireServer

beforeAll(async () => {
  wire = await WireServer.open()
  home = await mkdtemp(join(tmpdir(), 'sdk-package-'))
  installed = join(home, 'node_modules', '@portico', 'sdk')
  await mkdir(installed, { recursive: true })
  await cp(join(sdk, 'package.json'), join(installed, 'package.json'))
  await run(process.execPath, [join(sdk, 'build.ts'), join(installed, 'dist')])
  await symlink(folderOf('zod'), join(home, 'node_modules', 'zod'))
  await writeFile(join(home, 'package.json'), '{"type":"module"}')
}, 60_000)

afterAll(async () => {
  await wire.close()
  await rm(home, { recursive: true, force: true })
})

const program = `
import { AuthenticationError, NotFoundError, Portico, type ExecResult, type Sandbox } from '@portico/sdk'
import { PorticoAdmin } from '@portico/sdk/admin'
import { IrisClient, IrisError } from '@portico/sdk/iris'

const portico = new Portico()
const sandbox: Sandbox = await portico.create({ image: 'python', memMiB: 256 })
const result: ExecResult = await sandbox.exec(['echo', 'hi'])
const bytes: Uint8Array = await sandbox.files.read('/nowhere').catch((error: unknown) => {
  if (error instanceof NotFoundError && error.code === 'file_not_found') return new Uint8Array(2)
  throw error
})
console.log(result.exitCode, result.stdout.trim(), bytes.length, (await sandbox.destroy()).costCents)
await sandbox[Symbol.asyncDispose]()

const stranger = new PorticoAdmin({ adminKey: 'wrong' })
const refused = await stranger.runners.list().catch((error: unknown) => error instanceof AuthenticationError)
console.log(refused, (await new PorticoAdmin().runners.list()).length)

const iris = new IrisClient({ apiKey: 'key', baseUrl: 'http://127.0.0.1:1' })
console.log(await iris.sandboxes.create().catch((error: unknown) => error instanceof IrisError && error.code))
`

/** A program as JavaScript: every type of this one stands where it can be cut. */
const javascript = program
  .replace(', type ExecResult, type Sandbox', '')
  .replaceAll(/: (Sandbox|ExecResult|Uint8Array|unknown)\b/g, '')

describe('the built package', () => {
  it('holds its three modules, what they share, and declarations, and names nothing of the checkout', async () => {
    const files = await readdir(join(installed, 'dist'))
    const modules = files.filter((name) => !name.endsWith('.d.ts')).sort()
    expect(modules.filter((name) => !/^common-\w+\.js$/.test(name))).toEqual(['admin.js', 'index.js', 'iris.js'])
    for (const name of files) {
      const text = await readFile(join(installed, 'dist', name), 'utf8')
      const imports = [...text.matchAll(/(?:from|import) ?\(?["']([^"']+)["']/g)].map((found) => found[1])
      expect(imports.filter((from) => from !== 'zod' && !/^\.\/[\w-]+\.js$/.test(from ?? ''))).toEqual([])
      expect(text).not.toContain(dirname(sdk))
    }
  })

  it('runs on every Node from 20 that is on the path', async () => {
    await writeFile(join(home, 'program.js'), javascript)
    const versions = new Set<string>()
    for (const node of [
      process.execPath,
      ...(process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, 'node')),
    ]) {
      const version = await run(node, ['--version']).then(
        ({ stdout }) => stdout.trim(),
        () => '',
      )
      if (Number(version.slice(1).split('.')[0]) < 20 || versions.has(version)) continue
      versions.add(version)
      const { stdout, stderr } = await run(node, ['program.js'], {
        cwd: home,
        env: { ...process.env, ...wire.environment },
      })
      expect({ version, stdout, stderr }).toEqual({
        version,
        stdout: '0 hi 2 0.0016\ntrue 0\nunavailable\n',
        stderr: '',
      })
    }
    expect(versions.size).toBeGreaterThan(0)
  })

  it.each([
    ['Node', { module: 'NodeNext', target: 'ES2022', types: ['node'] }],
    [
      'a bundler',
      { module: 'ESNext', moduleResolution: 'Bundler', target: 'ES2022', lib: ['ES2022', 'DOM'], types: [] },
    ],
  ])(
    'has types that compile for %s, strictly and with its declarations checked too',
    async (_what, compilerOptions) => {
      await mkdir(join(home, 'node_modules', '@types'), { recursive: true })
      for (const name of ['@types/node', 'undici-types'])
        await symlink(folderOf(name), join(home, 'node_modules', name)).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'EEXIST') throw error
        })
      await writeFile(join(home, 'program.ts'), program)
      const strict = { strict: true, exactOptionalPropertyTypes: true, noEmit: true, skipLibCheck: false }
      const config = { compilerOptions: { ...strict, ...compilerOptions }, files: ['program.ts'] }
      await writeFile(join(home, 'tsconfig.json'), JSON.stringify(config))
      const compiler = join(folderOf('typescript'), 'bin', 'tsc')
      const { stdout } = await run(process.execPath, [compiler, '-p', home]).catch((error: { stdout: string }) => error)
      expect(stdout).toBe('')
    },
  )
})
