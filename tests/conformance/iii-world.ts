/**
 * What the printed blocks of the page on iii's sandboxes presume: a platform whose runner has a policy, `my-app` in a registry, a client named `iii` and a
 * command named `iii`. Notes which blocks were run, so that none is left out.
 *
 *   local     presets, `my-app`, images that cannot be had, caps
 *   offline   nothing is pulled there
 *   broken    its machines have no kernel that starts
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { paths, root } from '@portico/deploy/checkout'
import { alpineImage, hostileImage } from '../kit/oci-images/index.ts'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'
import { Registry } from '../kit/registry.ts'
import { Relay } from '../kit/relay.ts'
import { type Iii, IiiCalls, type IiiModule, iiiAddress, iiiPart } from './iii-client.ts'
import { type IiiSnippet, iiiSnippets } from './iii-snippets.ts'
import { readPage } from './seed-snippets.ts'
import { type Ran, runProgram } from './snippet-run.ts'

export const regions = ['local', 'offline', 'broken'] as const
export type Region = (typeof regions)[number]

/** What a printed program did, and what the client answered to it, call by call. */
export interface RanIii extends Ran {
  readonly answers: readonly unknown[]
}

export interface Printed {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class IiiWorld implements AsyncDisposable {
  readonly test: TestPlatform
  readonly calls: IiiCalls
  /** Of sandboxes at once, by the policy. */
  readonly maxSandboxes = maxSandboxes
  readonly #module: IiiModule
  readonly #snippets: readonly IiiSnippet[]
  readonly #folder: string
  readonly #owned: AsyncDisposableStack
  readonly #ran = new Set<number>()

  static async open(): Promise<IiiWorld> {
    await using owned = new AsyncDisposableStack()
    await mkdir(paths.temporary, { recursive: true })
    const folder = await mkdtemp(join(paths.temporary, 'iii-'))
    owned.defer(() => rm(folder, { recursive: true, force: true }))
    const registry = owned.use(await Registry.start())
    const [myApp] = await Promise.all([
      registry.push(await alpineImage({ env: ['APP=mine'], workdir: '/srv' }), 'acme/my-app:1.2.3'),
      registry.push(await hostileImage('wrong-architecture'), 'acme/of-another-machine:1'),
    ])
    const test = owned.use(await testPlatform(await settings(folder, registry.host, myApp)))
    const module = await iiiPart<IiiModule>('index')
    const iii = module.registerWorker(iiiAddress(test.platform.url, test.platform.apiKey))
    owned.defer(() => iii.shutdown())
    return new IiiWorld({ test, module, iii, folder, snippets: await iiiSnippets(), owned: owned.move() })
  }

  constructor(parts: {
    test: TestPlatform
    module: IiiModule
    iii: Iii
    folder: string
    snippets: readonly IiiSnippet[]
    owned: AsyncDisposableStack
  }) {
    this.test = parts.test
    this.calls = new IiiCalls(parts.iii)
    this.#module = parts.module
    this.#folder = parts.folder
    this.#snippets = parts.snippets
    this.#owned = parts.owned
  }

  /** Another client. Its key is in the path unless `headers` have it. */
  connect(region: Region = 'local', options: Parameters<IiiModule['registerWorker']>[1] = {}): IiiCalls {
    const { url, apiKeys } = this.test.platform
    const address = options.headers ? iiiAddress(url, '').slice(0, -1) : iiiAddress(url, apiKeys[region] ?? '')
    const iii = this.#module.registerWorker(address, options)
    this.#owned.defer(() => iii.shutdown())
    return new IiiCalls(iii)
  }

  /** Where the client is connected. */
  get address(): string {
    return iiiAddress(this.test.platform.url, this.test.platform.apiKey)
  }

  /** Another client, whose connections can be cut. */
  async connectThroughRelay(): Promise<{ calls: IiiCalls; relay: Relay }> {
    const { url, apiKey } = this.test.platform
    const relay = this.#owned.use(new Relay())
    const port = await relay.open(Number(new URL(url).port))
    const iii = this.#module.registerWorker(iiiAddress(`http://127.0.0.1:${port}`, apiKey))
    this.#owned.defer(() => iii.shutdown())
    return { calls: new IiiCalls(iii), relay }
  }

  /** Runs a printed program; `more` are names that it presumes beside `iii`. */
  async run(index: number, more: Readonly<Record<string, unknown>> = {}): Promise<RanIii> {
    const answers: unknown[] = []
    const trigger = async (request: Parameters<Iii['trigger']>[0]) => {
      const answer = await this.calls.iii.trigger(request)
      answers.push(answer)
      return answer
    }
    const ran = await runProgram(this.#take(index, 'program'), {}, { iii: { trigger }, ...more })
    return { ...ran, answers }
  }

  /** Runs printed shell lines, with `iii` for the command. */
  async shell(index: number): Promise<Printed> {
    return await this.command(this.#take(index, 'shell'))
  }

  /** Lines for a shell that knows the command. */
  async command(lines: string): Promise<Printed> {
    const { url, apiKey } = this.test.platform
    const named = `set -euo pipefail\niii() { ${iiiCommand} "$@"; }\n`
    const env = { ...process.env, PATH: path, PORTICO_URL: url, PORTICO_API_KEY: apiKey }
    const child = spawn('bash', ['-c', named + lines], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const [[code], stdout, stderr] = await Promise.all([
      once(child, 'close') as Promise<[number | null]>,
      textOf(child.stdout),
      textOf(child.stderr),
    ])
    return { code, stdout, stderr }
  }

  /** Whether two blocks of shell lines are the same but for what they say beside; the first need not be run then. */
  sameShell(index: number, other: number): boolean {
    const [first, second] = [index, other].map((one) => this.#take(one, 'shell').replaceAll(/ +#.*$/gm, ''))
    return first === second
  }

  /** Loads a printed policy as the file of a runner. */
  async checkPolicy(index: number): Promise<Printed> {
    const file = join(this.#folder, `asked-${index}.yaml`)
    await writeFile(file, this.#take(index, 'yaml'))
    return await this.command(`${join(root, 'cli', 'bin', 'portico.js')} config check ${file}`)
  }

  /** How a command is called, as it is printed. */
  synopsis(index: number): string {
    return this.#take(index, 'synopsis')
  }

  /** Messages of errors, as they are printed. */
  errors(index: number): string[] {
    return this.#take(index, 'error').split('\n')
  }

  /** The blocks of the page that were not run. */
  left(): string[] {
    return this.#snippets.flatMap(({ kind }, index) => (this.#ran.has(index) ? [] : [`${kind} ${index}`]))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync()
  }

  #take(index: number, kind: IiiSnippet['kind']): string {
    const snippet = this.#snippets[index]
    if (snippet?.kind !== kind) throw new Error(`block ${index} of the page is no ${kind}`)
    this.#ran.add(index)
    return snippet.text
  }
}

/** The command that stands for `iii`. */
export const iiiCommand = join(root, 'cli', 'bin', 'portico-iii.js')

/** Type and retryable of each code, as the page's table has them. */
export async function codesOf(): Promise<ReadonlyMap<string, { type: string; retryable: boolean }>> {
  const rows = (await readPage('iii-sandbox-api.txt')).matchAll(/^\| (S\d+) \| (\w+) \| (true|false) \|/gm)
  return new Map(
    [...rows].map(([, code = '', type = '', retryable]) => [code, { type, retryable: retryable === 'true' }]),
  )
}

const maxSandboxes = 5

/** With the Node that runs this first, as a user has it. */
const path = `${join(process.execPath, '..')}:${process.env.PATH ?? ''}`

async function settings(folder: string, registry: string, myApp: string): Promise<Parameters<typeof testPlatform>[0]> {
  const write = async (name: string, text: string) => {
    const file = join(folder, name)
    await writeFile(file, text)
    return file
  }
  const custom = {
    'my-app': myApp,
    'not-there': `${registry}/acme/not-there:1`,
    foreign: `${registry}/acme/of-another-machine:1`,
  }
  const policy = {
    image_allowlist: ['python', ...Object.keys(custom)],
    custom_images: { ...custom, unlisted: myApp },
    per_image_caps: { python: { max_cpus: 2, max_memory_mb: 1024 } },
    max_concurrent_sandboxes: maxSandboxes,
    // As on the other surfaces, so that their tests' templates do.
    default_memory_mb: 1024,
    insecure_registries: [registry],
  }
  const local = await write('local.yaml', asWorkers(policy))
  const offline = await write('offline.yaml', asWorkers({ ...policy, auto_install: false }))
  const assets = JSON.parse(await readFile(paths.assets, 'utf8')) as object
  const kernel = await write('no-kernel', 'this is no kernel\n'.repeat(1000))
  const broken = await write('assets.json', JSON.stringify({ ...assets, kernel }))
  return {
    fleet: regions,
    poolSize: 0,
    runnerSettings: [{ policy: local }, { policy: offline }, { policy: local, assets: broken }],
  }
}

/** As the page spells a policy. JSON is YAML. */
function asWorkers(config: object): string {
  return JSON.stringify({ workers: [{ name: 'iii-sandbox', config }] }, undefined, 2)
}
