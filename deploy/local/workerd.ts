/** The front door on this machine: the Worker of `edge/`, bundled and served by workerd itself, with Durable Objects kept in SQLite files. */

import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { build } from 'esbuild'
import { parse } from 'smol-toml'
import { paths } from '../checkout.ts'
import { Child } from './child.ts'

export interface FrontDoorOptions {
  /** Where its configuration and its objects' storage go. */
  readonly directory: string
  /** 0 takes any free port. */
  readonly port: number
  /** Secrets and settings, handed over by environment so that no file holds them. */
  readonly variables: Readonly<Record<string, string>>
  /** Another entry point than the Worker's own. */
  readonly worker?: string
  /** What the Worker may reach, as workerd calls networks; the public internet unless told. */
  readonly networks?: readonly string[]
  readonly log: (text: string) => void
}

export interface FrontDoor {
  readonly url: string
  readonly port: number
  readonly child: Child
}

/** Bundles the Worker and serves it. Resolves once it listens. */
export async function openFrontDoor(options: FrontDoorOptions): Promise<FrontDoor> {
  const storage = join(options.directory, 'objects')
  await mkdir(storage, { recursive: true })
  await chmod(options.directory, 0o700)
  // Without a page that set-up built, there is none to serve; the rest goes on.
  await mkdir(paths.page, { recursive: true })
  await bundle(options.worker ?? paths.worker, join(options.directory, 'worker.js'))
  const config = join(options.directory, 'workerd.capnp')
  await writeFile(config, await workerdConfig(storage, Object.keys(options.variables), options.networks ?? ['public']))
  const workerd = createRequire(import.meta.url)('workerd') as { default: string }
  const child = new Child({
    name: 'the front door',
    command: workerd.default,
    args: ['serve', config, '--control-fd=3', `--socket-addr=http=127.0.0.1:${options.port}`],
    env: options.variables,
    log: options.log,
    control: true,
  })
  const port = await child.whileRunning(listening(child))
  return { url: `http://127.0.0.1:${port}`, port, child }
}

async function bundle(entry: string, outfile: string): Promise<void> {
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: 'esm',
    target: 'es2024',
    conditions: ['portico-source', 'workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'],
    logLevel: 'error',
  })
}

/** The port, from workerd's own report on its control descriptor. */
function listening(child: Child): Promise<number> {
  return new Promise((resolve) => {
    let text = ''
    child.control?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      for (const line of text.split('\n').slice(0, -1)) {
        const event = JSON.parse(line) as { event: string; socket?: string; port?: number }
        if (event.event === 'listen' && event.socket === 'http' && event.port !== undefined) resolve(event.port)
      }
      text = text.slice(text.lastIndexOf('\n') + 1)
    })
  })
}

interface Wrangler {
  readonly compatibility_date: string
  readonly compatibility_flags?: readonly string[]
  readonly assets: { readonly binding: string }
  readonly durable_objects: { readonly bindings: readonly { name: string; class_name: string }[] }
}

/**
 * A young generation of 1 MiB. The messages of a tunnel are buffers outside of V8's heap, which are given back when their small handles are collected: with
 * the usual 16 MiB that is so seldom that a download of 2 GiB leaves its allocator with 200 MiB in pieces. The rate of calls does not change with it.
 */
const v8Flags = ['--max-semi-space-size=1', '--min-semi-space-size=1']

/** workerd's configuration, made from the same wrangler.toml that deploys the Worker, so that the two cannot differ. */
async function workerdConfig(
  storage: string,
  variables: readonly string[],
  networks: readonly string[],
): Promise<string> {
  const wrangler = parse(await readFile(paths.wranglerToml, 'utf8')) as unknown as Wrangler
  const objects = wrangler.durable_objects.bindings
  const bindings = [
    ...objects.map(({ name, class_name }) => `(name = ${text(name)}, durableObjectNamespace = ${text(class_name)})`),
    `(name = ${text(wrangler.assets.binding)}, service = "page")`,
    ...variables.map((name) => `(name = ${text(name)}, fromEnvironment = ${text(name)})`),
  ]
  const namespaces = objects.map(
    ({ class_name }) =>
      `(className = ${text(class_name)}, uniqueKey = ${text(`portico-${class_name}`)}, enableSql = true)`,
  )
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  v8Flags = [${v8Flags.map(text).join(', ')}],
  services = [
    (name = "edge", worker = .edge),
    (name = "objects", disk = (path = ${text(storage)}, writable = true)),
    (name = "page", disk = (path = ${text(paths.page)})),
    (name = "internet", network = (allow = [${networks.map(text).join(', ')}], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", http = (), service = "edge")],
);

const edge :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = ${text(wrangler.compatibility_date)},
  compatibilityFlags = [${(wrangler.compatibility_flags ?? []).map(text).join(', ')}],
  bindings = [
    ${bindings.join(',\n    ')},
  ],
  durableObjectNamespaces = [
    ${namespaces.join(',\n    ')},
  ],
  durableObjectStorage = (localDisk = "objects"),
);
`
}

function text(value: string): string {
  return JSON.stringify(value)
}
