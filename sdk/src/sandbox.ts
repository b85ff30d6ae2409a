/** The handle of one sandbox. Its fields are the record as it was last seen through this handle; `info()` looks again. */

import { destroyResponse, runRecord } from '@portico/shared/api'
import { NotFoundError } from './errors.ts'
import { type ExecOptions, type ExecResult, exec } from './exec.ts'
import { SandboxFiles } from './files.ts'
import { shortMs } from './limits.ts'
import { type SandboxInfo, type SandboxStatus, type SandboxUsage, sandboxInfo, sandboxUsage } from './records.ts'
import type { Transport } from './transport.ts'

/** What every call takes. */
export interface CallOptions {
  /** Ends the call; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

export class Sandbox implements SandboxInfo {
  declare readonly id: string
  declare readonly status: SandboxStatus
  declare readonly reason: string | undefined
  declare readonly image: string
  declare readonly resolvedImage: string
  declare readonly region: string
  declare readonly vcpus: number
  declare readonly memMiB: number
  declare readonly diskMiB: number
  declare readonly timeoutSec: number
  declare readonly createMs: number
  declare readonly createdAt: Date
  readonly #transport: Transport
  readonly #path: string
  readonly #files: SandboxFiles

  /** @internal Made by Portico alone: `create`, `get` and `list`. */
  constructor(transport: Transport, info: SandboxInfo) {
    Object.assign(this, info)
    this.#transport = transport
    this.#path = `/v1/runs/${encodeURIComponent(info.id)}`
    this.#files = new SandboxFiles(transport, this.#path)
  }

  /** The sandbox's files. */
  get files(): SandboxFiles {
    return this.#files
  }

  /**
   * Runs a command and waits for its end. A string is a line for the shell; a list is a program and its arguments, which no shell reads.
   * Never repeated by itself: after an UnavailableError the command may or may not have run.
   */
  async exec(command: string | readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return await exec(this.#transport, this.#path, command, options)
  }

  /** Seconds without activity after which the sandbox is destroyed; 0 switches that off. */
  async setTimeout(seconds: number, options: CallOptions = {}): Promise<void> {
    const call = { method: 'PATCH', path: this.#path, doing: 'set the timeout', limitMs: shortMs } as const
    const record = await this.#transport.json(
      { ...call, json: { timeout: seconds }, signal: options.signal },
      runRecord,
    )
    Object.assign(this, sandboxInfo(record))
  }

  /** The record as it is now. A NotFoundError says that the sandbox is gone. */
  async info(options: CallOptions = {}): Promise<SandboxInfo> {
    const call = { method: 'GET', path: this.#path, doing: 'look up the sandbox', limitMs: shortMs } as const
    const record = await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, runRecord)
    const info = sandboxInfo(record)
    Object.assign(this, info)
    return info
  }

  /** Ends the sandbox and all that is in it, and answers with what it used. A NotFoundError says that it was gone already. */
  async destroy(options: CallOptions = {}): Promise<SandboxUsage> {
    const usage = await destroy(this.#transport, this.id, options.signal)
    Object.assign(this, { status: 'destroyed' })
    return usage
  }

  /** `await using` destroys the sandbox at the end of the block, unless it is gone already. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.status === 'destroyed') return
    try {
      await this.destroy()
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
    }
  }
}

/** @internal Destroys a sandbox by its id. `detached` goes on when the client is closed. */
export async function destroy(
  transport: Transport,
  id: string,
  signal?: AbortSignal,
  detached = false,
): Promise<SandboxUsage> {
  const path = `/v1/runs/${encodeURIComponent(id)}`
  const call = { method: 'DELETE', path, doing: 'destroy the sandbox', limitMs: shortMs } as const
  return sandboxUsage(await transport.json({ ...call, repeatable: true, signal, detached }, destroyResponse))
}
