/**
 * A registry of container images on loopback: Debian's docker-registry, unpacked into the cache and never installed, behind a small proxy that counts what is
 * read, slows it down and fails when a test wants it. It owns its process and its folder, which end with it.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, open, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import { paths } from '@portico/deploy/checkout'
import type { OciImage } from './oci-images/image.ts'
import { debianPackage } from './oci-images/packages.ts'
import { removeFolder } from './oci-images/remove.ts'

export interface RegistryOptions {
  /** What callers must log in with; without it everybody may read and write. */
  readonly login?: { readonly user: string; readonly password: string }
}

const startLimitMs = 10_000

export class Registry implements AsyncDisposable {
  /** `127.0.0.1:PORT`, as it stands in references. It speaks HTTP: name it among `insecure_registries`. */
  readonly host: string
  readonly #folder: string
  readonly #child: ChildProcess
  readonly #front: Server
  readonly #options: RegistryOptions
  readonly #reads = new Map<string, number>()
  readonly #waiting = new Set<() => void>()
  #bytesPerSecond: number | undefined
  #failure: number | undefined

  private constructor(folder: string, child: ChildProcess, front: Server, options: RegistryOptions) {
    this.#folder = folder
    this.#child = child
    this.#front = front
    this.#options = options
    this.host = `127.0.0.1:${(front.address() as AddressInfo).port}`
  }

  /** Starts one and resolves when it answers. */
  static async start(options: RegistryOptions = {}): Promise<Registry> {
    const program = join(await debianPackage('docker-registry'), 'usr/bin/docker-registry')
    await mkdir(paths.temporary, { recursive: true })
    const folder = await mkdtemp(join(paths.temporary, 'registry-'))
    await writeFile(join(folder, 'config.yml'), await configuration(folder, options))
    // It must not outlive a test that was killed.
    const words = ['--pdeathsig', 'KILL', '--', program, 'serve', join(folder, 'config.yml')]
    const child = spawn('setpriv', words, { stdio: ['ignore', 'ignore', 'pipe'] })
    try {
      const back = await portOf(child)
      const front = createServer((asked, answer) => void registry.#pass(back, asked, answer))
      front.listen(0, '127.0.0.1')
      await once(front, 'listening')
      const registry = new Registry(folder, child, front, options)
      return registry
    } catch (error) {
      child.kill('SIGKILL')
      await removeFolder(folder)
      throw error
    }
  }

  /** A containers-auth.json with its login, for `registry_auth`. */
  async authFile(): Promise<string> {
    const { user, password } = this.#options.login ?? { user: '', password: '' }
    const file = join(this.#folder, 'auth.json')
    const auth = Buffer.from(`${user}:${password}`).toString('base64')
    await writeFile(file, JSON.stringify({ auths: { [this.host]: { auth } } }), { mode: 0o600 })
    return file
  }

  /** Puts an image there as `NAME:TAG` and resolves with its whole reference, `127.0.0.1:PORT/NAME:TAG`. */
  async push(image: OciImage, name: string): Promise<string> {
    const { repository, tag } = named(name)
    for (const layer of image.layers)
      await this.#upload(repository, layer.digest, layer.size, () => createReadStream(layer.file))
    const { config } = image
    await this.#upload(repository, config.digest, config.bytes.length, () => Readable.from([config.bytes]))
    await this.#put(repository, tag, image.manifest)
    if (image.tampered !== undefined) await this.#tamper(image.tampered)
    return `${this.host}/${name}`
  }

  /** Puts an index of images there, by `os/architecture`. */
  async pushIndex(images: Readonly<Record<string, OciImage>>, name: string): Promise<string> {
    const { repository, tag } = named(name)
    const manifests = []
    for (const [platform, image] of Object.entries(images)) {
      await this.push(image, `${repository}:part-${manifests.length}`)
      const [os, architecture] = platform.split('/')
      const { mediaType, digest, bytes } = image.manifest
      manifests.push({ mediaType, digest, size: bytes.length, platform: { os, architecture } })
    }
    const mediaType = 'application/vnd.oci.image.index.v1+json'
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }))
    await this.#put(repository, tag, { bytes, mediaType })
    return `${this.host}/${name}`
  }

  /** How often blobs and manifests were read to their end since it began, by digest or tag. */
  reads(): ReadonlyMap<string, number> {
    return new Map(this.#reads)
  }

  /** Resolves once the body of a blob has begun to go out. */
  async reading(): Promise<void> {
    await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  /** Answers that carry a blob are slowed to this rate from now on, each; undefined lets them go. */
  throttle(bytesPerSecond: number | undefined): void {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Every call is answered with this status from now on; undefined ends that. */
  fail(status: number | undefined): void {
    this.#failure = status
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#front.close()
    this.#front.closeAllConnections()
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill('SIGKILL')
      await ended
    }
    await removeFolder(this.#folder)
  }

  async #pass(back: number, asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    if (this.#failure !== undefined) {
      answer.writeHead(this.#failure, { 'content-type': 'application/json' })
      answer.end('{"errors":[{"code":"UNAVAILABLE","message":"not now"}]}')
      return
    }
    const { method, url: path, headers } = asked
    const passed = request({ host: '127.0.0.1', port: back, method, path, headers })
    passed.on('error', () => answer.destroy())
    answer.on('close', () => passed.destroy())
    passed.on('response', (response) => void this.#carry(asked, response, answer))
    asked.pipe(passed)
  }

  async #carry(asked: IncomingMessage, from: IncomingMessage, to: ServerResponse): Promise<void> {
    to.writeHead(from.statusCode ?? 502, from.headers)
    const [, kind, what] = /\/v2\/.+\/(blobs|manifests)\/([^/?]+)$/.exec(asked.url ?? '') ?? []
    const isRead = asked.method === 'GET' && from.statusCode === 200 && what !== undefined
    try {
      if (isRead && kind === 'blobs') {
        for (const resolve of this.#waiting) resolve()
        this.#waiting.clear()
        await pipeline(from, (chunks: AsyncIterable<Uint8Array>) => this.#slowly(chunks), to)
      } else await pipeline(from, to)
      if (isRead) this.#reads.set(what, (this.#reads.get(what) ?? 0) + 1)
    } catch {
      to.destroy()
    }
  }

  async *#slowly(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      yield chunk
      if (this.#bytesPerSecond !== undefined) await wait((chunk.length / this.#bytesPerSecond) * 1000)
    }
  }

  async #upload(repository: string, digest: string, size: number, body: () => Readable): Promise<void> {
    const begun = await this.#call(`/v2/${repository}/blobs/uploads/`, { method: 'POST' })
    const target = new URL(begun.headers.get('location') ?? '', `http://${this.host}`)
    target.searchParams.set('digest', digest)
    await this.#call(target.pathname + target.search, {
      method: 'PUT',
      headers: { 'content-length': String(size), 'content-type': 'application/octet-stream' },
      body: Readable.toWeb(body()) as ReadableStream<Uint8Array>,
      duplex: 'half',
    })
  }

  async #put(repository: string, tag: string, { bytes, mediaType }: { bytes: Uint8Array; mediaType: string }) {
    const body = Buffer.from(bytes)
    await this.#call(`/v2/${repository}/manifests/${tag}`, {
      method: 'PUT',
      headers: { 'content-type': mediaType },
      body,
    })
  }

  async #call(path: string, init: RequestInit & { duplex?: 'half' }): Promise<Response> {
    const headers = new Headers(init.headers)
    const { login } = this.#options
    if (login)
      headers.set('authorization', `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`)
    const response = await fetch(`http://${this.host}${path}`, { ...init, headers })
    const text = await response.text()
    if (!response.ok) throw new Error(`cannot push to the registry: ${response.status} ${text}`)
    return response
  }

  /** Changes a byte of a blob where the registry keeps it. */
  async #tamper(digest: string): Promise<void> {
    const hex = digest.slice('sha256:'.length)
    const file = join(this.#folder, 'data/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data')
    await using handle = await open(file, 'r+')
    await handle.write(Buffer.from([0x55]), 0, 1, 30)
  }
}

function named(name: string): { repository: string; tag: string } {
  const colon = name.lastIndexOf(':')
  return { repository: name.slice(0, colon), tag: name.slice(colon + 1) }
}

async function configuration(folder: string, { login }: RegistryOptions): Promise<string> {
  const lines = [
    'version: 0.1',
    'log: { level: info, accesslog: { disabled: true } }',
    `storage: { filesystem: { rootdirectory: ${folder}/data }, delete: { enabled: true } }`,
    'http: { addr: 127.0.0.1:0, relativeurls: true, secret: of-a-test }',
  ]
  if (!login) return `${lines.join('\n')}\n`
  // The registry takes bcrypt alone; Debian's crypt(3) knows it, and perl is on every Debian host.
  const print = ['-e', 'print crypt($ARGV[0], q($2y$05$abcdefghijklmnopqrstuu))', login.password]
  const { stdout } = await promisify(execFile)('perl', print)
  await writeFile(join(folder, 'htpasswd'), `${login.user}:${stdout}\n`)
  return `${[...lines, `auth: { htpasswd: { realm: test, path: ${folder}/htpasswd } }`].join('\n')}\n`
}

/** The port it says that it listens on. */
async function portOf(child: ChildProcess): Promise<number> {
  const { stderr } = child
  if (!stderr) throw new Error('cannot start the registry: it has no output')
  const said: string[] = []
  const late = AbortSignal.timeout(startLimitMs)
  for await (const line of createInterface({ input: stderr, signal: late })) {
    said.push(line)
    const port = /listening on 127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port === undefined) continue
    // Whatever it says from here on is dropped, so that it never waits for a reader.
    stderr.resume()
    return Number(port)
  }
  throw new Error(`cannot start the registry: ${said.slice(-5).join('\n')}`)
}
