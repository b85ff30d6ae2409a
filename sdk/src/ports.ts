/** Servers inside a sandbox: their URLs, who may use them, and links that expire. */

import { portLink, portList, portRecord } from '@portico/shared/api'
import { shortMs } from './limits.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

/** `url`: whoever knows the URL. `key`: with an API key of the account. `signed`: with a link that expires. */
export type PortAccess = 'url' | 'key' | 'signed'

/** What the server gets as `Host`: the name in the URL, or `localhost:PORT`. */
export type PortHost = 'public' | 'localhost'

/** A port as the platform's record shows it. */
export interface PortInfo {
  readonly port: number
  readonly access: PortAccess
  readonly host: PortHost
  /** The public URL; undefined where the platform serves none. */
  readonly url: string | undefined
  /** The same server behind an API key. */
  readonly proxyUrl: string
  /** Whether something listens; undefined where that was not looked at. */
  readonly listening: boolean | undefined
  /** Where it listens, such as `127.0.0.1`. */
  readonly address: string | undefined
  readonly pid: number | undefined
  readonly command: string | undefined
}

/** What to change of a port; what is left out stays. */
export interface PortOptions extends CallOptions {
  readonly access?: PortAccess | undefined
  readonly host?: PortHost | undefined
}

export interface PortLinkOptions extends CallOptions {
  /** Seconds; an hour unless told, at most 30 days. */
  readonly expiresInSec?: number | undefined
  /** Where it leads, such as `/report`. */
  readonly path?: string | undefined
}

/** A URL that opens a port until it expires. */
export interface PortLink {
  readonly url: string
  readonly expiresAt: Date
}

export class SandboxPorts {
  readonly #transport: Transport
  readonly #path: string

  /** @internal Made by Sandbox alone. */
  constructor(transport: Transport, sandboxPath: string) {
    this.#transport = transport
    this.#path = `${sandboxPath}/ports`
  }

  /** What listens in the sandbox, and what was set. */
  async list({ signal }: CallOptions = {}): Promise<PortInfo[]> {
    const call = { method: 'GET', path: this.#path, doing: 'list the ports', limitMs: shortMs } as const
    const { ports } = await this.#transport.json({ ...call, repeatable: true, signal }, portList)
    return ports.map(portInfo)
  }

  async get(port: number, { signal }: CallOptions = {}): Promise<PortInfo> {
    const call = { method: 'GET', path: this.#of(port), doing: 'look up the port', limitMs: shortMs } as const
    return portInfo(await this.#transport.json({ ...call, repeatable: true, signal }, portRecord))
  }

  /** Says who may use a port by its public URL, and as what. Links that were made before open it no more. */
  async set(port: number, { signal, access, host }: PortOptions): Promise<PortInfo> {
    const call = { method: 'PUT', path: this.#of(port), doing: 'set the port', limitMs: shortMs } as const
    return portInfo(await this.#transport.json({ ...call, json: { access, host }, signal }, portRecord))
  }

  /** Makes a link that opens a port until it expires, whatever its access. */
  async link(port: number, { signal, expiresInSec, path }: PortLinkOptions = {}): Promise<PortLink> {
    const call = { method: 'POST', path: `${this.#of(port)}/links`, doing: 'make a link', limitMs: shortMs } as const
    const json = { expires_in: expiresInSec, path }
    const { url, expires_at } = await this.#transport.json({ ...call, json, signal }, portLink)
    return { url, expiresAt: new Date(expires_at) }
  }

  #of(port: number): string {
    assertPort(port)
    return `${this.#path}/${port}`
  }
}

/** @internal */
export function assertPort(port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new RangeError(`cannot use the port ${port}: ports are 1 to 65535`)
}

/** @internal A path as it follows a host, with its slash. */
export function rooted(path: string): string {
  return path.startsWith('/') ? path : `/${path}`
}

function portInfo(record: ReturnType<typeof portRecord.parse>): PortInfo {
  const { port, access, host, url, proxy_url, listening, address, pid, command } = record
  return { port, access, host, url, proxyUrl: proxy_url, listening, address, pid, command }
}
