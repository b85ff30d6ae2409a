/** Consoles: terminals in a sandbox that several may look at, and that outlive whoever looks. */

import { type ConsoleRecord, consoleLink, consoleList, consoleRecord } from '@portico/shared/api'
import { type AttachOptions, ConsoleView } from './console-view.ts'
import { shortMs } from './limits.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

export interface ConsoleOptions extends CallOptions {
  readonly cols?: number | undefined
  readonly rows?: number | undefined
  /** As `exec` takes it; the sandbox's shell unless told. */
  readonly command?: string | readonly string[] | undefined
  /** What people call it. */
  readonly name?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly cwd?: string | undefined
  readonly user?: string | undefined
}

/** A console as the platform's record shows it. */
export interface ConsoleInfo {
  readonly id: string
  readonly sandboxId: string
  /** Of its process. */
  readonly processId: string
  readonly name: string | undefined
  readonly cols: number
  readonly rows: number
  readonly state: 'running' | 'exited' | 'lost'
  readonly exitCode: number | undefined
  readonly viewers: number
  readonly createdAt: Date
}

export interface ConsoleLinkOptions extends CallOptions {
  /** Whether who has it may type; `read` unless told. */
  readonly access?: 'read' | 'write' | undefined
  /** Seconds; an hour unless told, at most 30 days. */
  readonly expiresInSec?: number | undefined
}

/** Opens one console, for people without a key, until it expires. */
export interface ConsoleLink {
  /** The web page on it. */
  readonly url: string
  /** For `attach`. */
  readonly token: string
  readonly access: 'read' | 'write'
  readonly expiresAt: Date
}

export class Consoles {
  readonly #transport: Transport
  readonly #path: string

  /** @internal Made by Sandbox alone. */
  constructor(transport: Transport, sandboxPath: string) {
    this.#transport = transport
    this.#path = `${sandboxPath}/consoles`
  }

  async create({ signal, ...json }: ConsoleOptions = {}): Promise<ConsoleInfo> {
    const call = { method: 'POST', path: this.#path, doing: 'make a console', limitMs: shortMs } as const
    return consoleInfo(await this.#transport.json({ ...call, json, signal }, consoleRecord))
  }

  /** Oldest first. */
  async list({ signal }: CallOptions = {}): Promise<ConsoleInfo[]> {
    const call = { method: 'GET', path: this.#path, doing: 'list the consoles', limitMs: shortMs } as const
    const { consoles } = await this.#transport.json({ ...call, repeatable: true, signal }, consoleList)
    return consoles.map(consoleInfo)
  }

  async get(id: string, { signal }: CallOptions = {}): Promise<ConsoleInfo> {
    const call = { method: 'GET', path: this.#of(id), doing: 'look up the console', limitMs: shortMs } as const
    return consoleInfo(await this.#transport.json({ ...call, repeatable: true, signal }, consoleRecord))
  }

  /** Makes a link for people without a key. */
  async link(id: string, { signal, access, expiresInSec }: ConsoleLinkOptions = {}): Promise<ConsoleLink> {
    const call = { method: 'POST', path: `${this.#of(id)}/links`, doing: 'make a link', limitMs: shortMs } as const
    const json = { access, expires_in: expiresInSec }
    const { expires_at, ...link } = await this.#transport.json({ ...call, json, signal }, consoleLink)
    return { ...link, expiresAt: new Date(expires_at) }
  }

  /** Ends its process and does away with it. A NotFoundError says that it was gone already. */
  async delete(id: string, { signal }: CallOptions = {}): Promise<void> {
    const call = { method: 'DELETE', path: this.#of(id), doing: 'delete the console', limitMs: shortMs } as const
    await this.#transport.nothing({ ...call, repeatable: true, signal })
  }

  /** Looks at a console: its scrollback first, then what comes. With a key that may use sandboxes, or a link for writing, also to type. */
  async attach(id: string, options: AttachOptions = {}): Promise<ConsoleView> {
    return await ConsoleView.open(this.#transport, this.#of(id), options)
  }

  #of(id: string): string {
    return `${this.#path}/${encodeURIComponent(id)}`
  }
}

function consoleInfo(record: ConsoleRecord): ConsoleInfo {
  const { id, run, process, name, cols, rows, state, exit_code, viewers, created_at } = record
  const about = { id, sandboxId: run, processId: process, name, cols, rows, state, viewers }
  return { ...about, exitCode: exit_code, createdAt: new Date(created_at) }
}
