/**
 * An agent in this process: the guest's side of the channel and its HTTP routes, with files in memory and commands that are scripted. It answers as
 * `docs/protocol.md` says unless its behaviour tells it to be slow, wrong or hostile.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { GuestExecRequest, guestExecResponse, IdentityRequest } from '@portico/shared/guest'
import { defaultWindow, EchoFinder, generation, Muxer, newNonce, preamble } from '@portico/shared/tunnel'
import type { z } from 'zod'
import { StreamDuplex } from '../../guest/stream-duplex.ts'

export type ExecResult = z.infer<typeof guestExecResponse>
export type ExecHandler = (asked: GuestExecRequest, signal: AbortSignal) => Promise<Partial<ExecResult>>

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
  /** Sent before the preamble of each session. */
  readonly noise?: Uint8Array
}

export class FakeGuest {
  readonly behaviour: GuestBehaviour
  readonly files = new Map<string, Buffer>()
  identity: IdentityRequest | undefined
  /** How many sessions were opened. */
  sessions = 0
  readonly #server: Server
  readonly #onPowerOff: () => void
  #muxer: Muxer | undefined
  #stopped = false

  constructor(behaviour: GuestBehaviour, onPowerOff: () => void) {
    this.behaviour = behaviour
    this.#onPowerOff = onPowerOff
    this.#server = createServer((request, response) => void this.#answer(request, response))
    this.#server.keepAliveTimeout = 0
  }

  /** The port was opened by the host. */
  attach(link: Duplex): void {
    link.on('error', () => undefined)
    void (this.behaviour.boot ?? Promise.resolve()).then(() => {
      if (!this.#stopped) this.#startSession(link)
    })
  }

  stop(): void {
    this.#stopped = true
    this.#muxer?.close()
    this.#server.close()
  }

  #startSession(link: Duplex): void {
    this.#muxer?.close()
    this.sessions++
    const greet = () => {
      const nonce = newNonce()
      link.write(preamble(nonce))
      return nonce
    }
    if (this.behaviour.noise) link.write(this.behaviour.noise)
    const finder = new EchoFinder(greet(), greet)
    const onData = (bytes: Uint8Array) => {
      const rest = finder.push(bytes)
      if (!rest) return
      link.off('data', onData)
      const muxer = this.#serve(link)
      link.on('data', (more: Uint8Array) => muxer.receive(more))
      if (rest.length > 0) muxer.receive(rest)
    }
    link.on('data', onData)
  }

  #serve(link: Duplex): Muxer {
    const muxer = new Muxer({
      carrier: { send: (bytes) => void link.write(bytes), close: () => link.destroy() },
      opens: 'even',
      hello: { generation, role: 'agent', window: defaultWindow },
      disconnected: 'guest_disconnected',
      onStream: (stream) => {
        stream.accept()
        const duplex = new StreamDuplex(stream)
        duplex.on('error', () => undefined)
        this.#server.emit('connection', duplex)
      },
    })
    link.on('close', () => muxer.close())
    this.#muxer = muxer
    return muxer
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
    switch (`${request.method} ${url.pathname}`) {
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
      case 'POST /poweroff':
        json(response, 200, {})
        return this.#onPowerOff()
      default:
        return json(response, 404, { error: { code: 'not_found', message: 'there is no such route' } })
    }
  }

  #takeIdentity(value: unknown, response: ServerResponse): void {
    const identity = value as IdentityRequest
    this.identity = identity
    const { hostname, clock_unix_ms } = identity
    const good = { hostname, clock_unix_ms, entropy_bytes: Buffer.from(identity.entropy, 'base64').length }
    json(response, 200, { ...good, ...this.behaviour.confirm?.(identity) })
  }

  async #exec(value: unknown, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    request.socket.once('close', () => gone.abort())
    const result = await (this.behaviour.exec ?? echo)(value as GuestExecRequest, gone.signal)
    json(response, 200, { ...success, ...result })
  }

  async #write(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const bytes = await readAll(request)
    this.files.set(path, bytes)
    json(response, 200, { path, size: bytes.length })
  }

  #read(path: string, response: ServerResponse): void {
    const bytes = this.files.get(path)
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

/** The one program that a fake guest has. */
const echo: ExecHandler = async ({ argv, shell }) => {
  const [program, ...words] = argv ?? (shell ?? '').split(' ')
  if (program === 'echo') return { stdout: `${words.join(' ')}\n` }
  return { exit_code: 127, stderr: `exec: ${program}: not found\n` }
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
