/**
 * An agent in this process: the guest's side of the channel and its HTTP routes, with files in memory, commands that are scripted, and this host's ports. It answers as
 * `docs/protocol.md` says unless its behaviour tells it to be slow, wrong or hostile.
 */

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { AppError } from '@portico/shared/errors'
import { type GuestExecRequest, type guestExecResponse, type IdentityRequest, tokenHeader } from '@portico/shared/guest'
import {
  type Carrier,
  defaultWindow,
  EchoFinder,
  encode,
  encodeHello,
  frameType,
  generation,
  type Hello,
  Muxer,
  newNonce,
  preamble,
  takeHello,
} from '@portico/shared/tunnel'
import type { z } from 'zod'
import { StreamDuplex } from '../../guest/stream-duplex.ts'
import { forwardTcp, listeningPorts, refuseUpgrade } from './ports.ts'
import type { GuestContents } from './state.ts'

export type ExecResult = z.infer<typeof guestExecResponse>
export type ExecHandler = (asked: GuestExecRequest, signal: AbortSignal) => Promise<Partial<ExecResult>>

export interface FakeService {
  readonly name: string
  readonly running: boolean
}

/** How a guest differs from a good one. */
export interface GuestBehaviour {
  /** Resolves when the agent is up; a promise that never does is a boot that hangs. */
  readonly boot?: Promise<void>
  /** What stands on the console. */
  readonly console?: string
  readonly exec?: ExecHandler
  /** Changes what the guest claims to be in force. */
  readonly confirm?: (identity: IdentityRequest) => object
  /** Answers a request with these bytes instead of HTTP. */
  readonly raw?: (path: string) => Uint8Array | undefined
  /** Its disk does not stay frozen for as long as is needed. */
  readonly thawsByItself?: boolean
  /** Services that cannot be started. */
  readonly failingServices?: readonly string[]
  /** Sent before the preamble of each session. */
  readonly noise?: Uint8Array
}

export class FakeGuest {
  readonly behaviour: GuestBehaviour
  readonly files = new Map<string, Buffer>()
  /** What its processes keep; the tests' own. */
  memory = ''
  identity: IdentityRequest | undefined
  /** The services that it has. */
  services: readonly FakeService[] = []
  /** The images that were brought into it, by digest. */
  readonly images = new Map<string, Buffer>()
  /** Its disk has no room for images. */
  noImages = false
  /** How many sessions were opened. */
  sessions = 0
  readonly #server: Server
  readonly #onPowerOff: () => void
  #muxer: Muxer | undefined
  #stopped = false
  #frozen = false
  /** It has not looked at its disk yet. */
  #waits: boolean
  /** What its agent demands, from an identity that was given to the machine that it was restored from. */
  readonly #inherited: string | undefined
  /** The guest in another machine in which this one goes on, with the session that was paused and what runs in it. */
  #next: FakeGuest | undefined

  constructor(behaviour: GuestBehaviour, onPowerOff: () => void, contents?: GuestContents) {
    this.behaviour = behaviour
    for (const [path, content] of Object.entries(contents?.files ?? {}))
      this.files.set(path, Buffer.from(content, 'base64'))
    this.memory = contents?.memory ?? ''
    this.#waits = contents?.waits ?? false
    this.#inherited = contents?.token
    this.#onPowerOff = onPowerOff
    this.#server = createServer((request, response) => void this.#answer(request, response))
    this.#server.keepAliveTimeout = 0
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
  }

  /** The port was opened by the host. */
  attach(link: Duplex): void {
    link.on('error', () => undefined)
    void (this.behaviour.boot ?? Promise.resolve()).then(() => {
      if (!this.#stopped) this.#startSession(link)
    })
  }

  /** What a copy of it goes on with; a session is not among that, see `takeOver`. */
  contents(): GuestContents {
    const files = [...this.files].map(([path, content]) => [path, content.toString('base64')])
    return { files: Object.fromEntries(files), memory: this.memory, token: this.#token, waits: this.#waits }
  }

  /** Whether its disk is frozen now. */
  get frozen(): boolean {
    return this.#frozen
  }

  /** Whether its session is paused: it can go on in a copy of it. */
  get holds(): boolean {
    return this.#muxer?.paused !== undefined
  }

  /** Goes on with the paused session of the guest that this is a copy of, and with the commands in it: one copy can. */
  takeOver(former: FakeGuest): void {
    if (!former.holds) return
    this.#muxer = former.#muxer
    former.#muxer = undefined
    former.#next = this
  }

  stop(): void {
    this.#stopped = true
    if (!this.holds) this.#muxer?.close()
    this.#server.close()
  }

  get #token(): string | undefined {
    return this.identity?.token ?? this.#inherited
  }

  /** The guest that what runs here belongs to now. */
  get #self(): FakeGuest {
    return this.#next ? this.#next.#self : this
  }

  #startSession(link: Duplex): void {
    const held = this.#muxer?.paused === undefined ? undefined : this.#muxer
    if (!held) this.#muxer?.close()
    this.sessions++
    const mark = held?.paused
    const hello: Hello = { generation, role: 'agent', window: defaultWindow, ...(mark && { paused: mark }) }
    const greet = () => {
      const nonce = newNonce()
      const first = encode({ type: frameType.hello, stream: 0, payload: encodeHello(hello) })
      link.write(Buffer.concat([preamble(nonce), first]))
      return nonce
    }
    if (this.behaviour.noise) link.write(this.behaviour.noise)
    const finder = new EchoFinder(greet(), greet)
    let kept: Uint8Array | undefined
    const onData = (bytes: Uint8Array) => {
      const rest = kept ? bytes : finder.push(bytes)
      if (!rest) return
      kept = Buffer.concat([kept ?? Buffer.alloc(0), rest])
      const begun = takeHello(kept)
      if (!begun) return
      link.off('data', onData)
      const muxer = held && begun.hello.resume === mark ? held : this.#serve(link, begun.hello)
      if (muxer === held) held.resume(carrierOf(link))
      else held?.close()
      this.#muxer = muxer
      link.on('data', (more: Uint8Array) => muxer.receive(more))
      link.on('close', () => (muxer.paused === undefined ? muxer.close() : undefined))
      if (begun.rest.length > 0) muxer.receive(begun.rest)
    }
    link.on('data', onData)
  }

  #serve(link: Duplex, greeted: Hello): Muxer {
    return new Muxer({
      carrier: carrierOf(link),
      opens: 'even',
      hello: { generation, role: 'agent', window: defaultWindow },
      greeted,
      holds: true,
      disconnected: 'guest_disconnected',
      onStream: (stream) => {
        stream.accept()
        const duplex = new StreamDuplex(stream)
        duplex.on('error', () => undefined)
        this.#self.#server.emit('connection', duplex)
      },
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://guest')
    const raw = this.behaviour.raw?.(url.pathname)
    if (raw) return void response.socket?.end(raw)
    try {
      await this.#route(request, response, url)
    } catch (error) {
      if (!response.headersSent) json(response, 500, { error: { code: 'internal', message: String(error) } })
      else response.destroy()
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const path = url.searchParams.get('path') ?? ''
    const free = url.pathname === '/health' || url.pathname === '/identity'
    if (!free && this.#token !== undefined && request.headers[tokenHeader] !== this.#token)
      return json(response, 401, { error: { code: 'unauthorized', message: 'the request is for another machine' } })
    if (this.#waits && url.pathname !== '/health' && url.pathname !== '/disk/mount')
      return json(response, 404, { error: { code: 'not_found', message: 'there is no such route yet' } })
    switch (`${request.method} ${url.pathname}`) {
      case 'POST /disk/mount':
        this.#waits = false
        return json(response, 200, {})
      case 'GET /health':
        return json(response, 200, { generation, version: 'fake', uptime_ms: 1, boot_ms: 1 })
      case 'POST /identity':
        return this.#takeIdentity(await readJson(request), response)
      case 'POST /exec':
        return await this.#exec(await readJson(request), request, response)
      case 'PUT /files':
        return await this.#write(path, request, response)
      case 'GET /files':
        return this.#read(path, response)
      case 'POST /disk/freeze':
        this.#frozen = true
        return json(response, 200, { flushed_ms: 1 })
      case 'POST /disk/thaw':
        this.#frozen = false
        return json(response, 200, { frozen_ms: 2, expired: this.behaviour.thawsByItself ?? false })
      case 'GET /services/state':
        return json(response, 200, { services: this.#self.services })
      case 'POST /services/restore':
        return this.#restoreServices(await readJson(request), response)
      case 'GET /images':
        return json(response, 200, { present: this.#self.images.has(url.searchParams.get('digest') ?? '') })
      case 'PUT /images':
        return await this.#takeImage(url.searchParams.get('digest') ?? '', request, response)
      case 'GET /ports':
        return json(response, 200, { ports: await listeningPorts() })
      case 'POST /poweroff':
        json(response, 200, {})
        return this.#onPowerOff()
      default:
        return json(response, 404, { error: { code: 'not_found', message: 'there is no such route' } })
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const url = new URL(request.url ?? '/', 'http://guest')
    const known = this.#token === undefined || request.headers[tokenHeader] === this.#token
    if (!known) refuseUpgrade(socket, 401, { code: 'unauthorized', message: 'the request is for another machine' })
    else if (url.pathname === '/tcp' && request.headers.upgrade === 'portico-tcp')
      forwardTcp(Number(url.searchParams.get('port')), socket, head)
    else refuseUpgrade(socket, 404, { code: 'not_found', message: 'there is no such route' })
  }

  #takeIdentity(value: unknown, response: ServerResponse): void {
    const identity = value as IdentityRequest
    this.identity = identity
    const { hostname, clock_unix_ms } = identity
    const good = {
      hostname,
      clock_unix_ms,
      entropy_bytes: Buffer.from(identity.entropy, 'base64').length,
      token_sha256: createHash('sha256').update(identity.token).digest('hex'),
    }
    json(response, 200, { ...good, ...this.behaviour.confirm?.(identity) })
  }

  #restoreServices(value: unknown, response: ServerResponse): void {
    const { services } = value as { services: FakeService[] }
    const failing = this.behaviour.failingServices ?? []
    this.#self.services = services.map((one) => (failing.includes(one.name) ? { ...one, running: false } : one))
    const wanted = services.filter(({ running }) => running).map(({ name }) => name)
    const failed = wanted.filter((name) => failing.includes(name))
    json(response, 200, { started: wanted.filter((name) => !failed.includes(name)), failed })
  }

  async #exec(value: unknown, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    const { socket } = request
    // A lost session ends no command.
    socket.once('close', () => (codeOf(socket.errored) === 'guest_disconnected' ? undefined : gone.abort()))
    const asked = value as GuestExecRequest
    const trace = request.headers.traceparent
    const env = typeof trace === 'string' ? { env: { TRACEPARENT: trace, ...asked.env } } : {}
    const result = await (this.behaviour.exec ?? echo)({ ...asked, ...env }, gone.signal)
    json(response, 200, { ...success, ...result })
  }

  async #write(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const bytes = await readAll(request)
    this.#self.files.set(path, bytes)
    json(response, 200, { path, size: bytes.length })
  }

  async #takeImage(digest: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const bytes = await readAll(request)
    if (this.noImages) return json(response, 507, { error: { code: 'no_space', message: 'the disk is full' } })
    this.#self.images.set(digest, bytes)
    json(response, 200, { present: true })
  }

  #read(path: string, response: ServerResponse): void {
    const bytes = this.#self.files.get(path)
    if (bytes) {
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes.length })
      response.end(bytes)
    } else json(response, 404, { error: { code: 'file_not_found', message: `cannot read ${path}` } })
  }
}

const success: ExecResult = {
  exit_code: 0,
  stdout: '',
  stderr: '',
  timed_out: false,
  duration_ms: 1,
  stdout_truncated: false,
  stderr_truncated: false,
}

/** The programs that a fake guest has. */
const echo: ExecHandler = async ({ argv, shell, env }) => {
  const [program, ...words] = argv ?? (shell ?? '').split(' ')
  if (program === 'true') return {}
  if (program === 'echo') return { stdout: `${words.join(' ')}\n` }
  if (program === 'printenv') {
    const value = env?.[words[0] ?? '']
    return value === undefined ? { exit_code: 1 } : { stdout: `${value}\n` }
  }
  return { exit_code: 127, stderr: `exec: ${program}: not found\n` }
}

function codeOf(error: unknown): unknown {
  return error instanceof AppError ? error.code : undefined
}

function carrierOf(link: Duplex): Carrier {
  return { send: (bytes) => void link.write(bytes), close: () => void link.destroy() }
}

function json(response: ServerResponse, status: number, value: object): void {
  const bytes = Buffer.from(JSON.stringify(value))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length })
  response.end(bytes)
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  return JSON.parse((await readAll(request)).toString('utf8'))
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const bytes of request) parts.push(bytes as Buffer)
  return Buffer.concat(parts)
}
