/** The handle of one sandbox. Its fields are the record as it was last seen through this handle; `info()` looks again. */

import { destroyResponse, forkResponse, runRecord, snapshotResponse, usageResponse } from '@portico/shared/api'
import { type AuditEntry, auditEntries } from './audit.ts'
import { SandboxCheckpoints } from './checkpoints.ts'
import type { GuestCommand } from './command.ts'
import { Consoles } from './consoles.ts'
import type { Creations } from './creations.ts'
import { NotFoundError, type PorticoError } from './errors.ts'
import { type ExecOptions, type ExecResult, exec } from './exec.ts'
import { reported } from './failures.ts'
import { SandboxFiles } from './files.ts'
import { saveMs, shortMs } from './limits.ts'
import { type MakeOptions, type UpdateOptions, updateBody } from './options.ts'
import { assertPort, rooted, SandboxPorts } from './ports.ts'
import type { Process, ProcessInfo, ProcessOptions } from './process.ts'
import {
  type Labels,
  type OnIdle,
  type SandboxInfo,
  type SandboxStatus,
  type SandboxUsage,
  sandboxInfo,
  sandboxUsage,
} from './records.ts'
import { SandboxServices } from './services.ts'
import { Shell, type ShellOptions } from './shell.ts'
import { deleteSnapshot, type SnapshotInfo, snapshotInfo } from './snapshots.ts'
import { Processes, type SpawnOptions } from './spawn.ts'
import { SandboxStore } from './store.ts'
import { streamedExec } from './streamed-exec.ts'
import { Terminal, type TerminalOptions } from './terminal.ts'
import type { Transport } from './transport.ts'

/** What every call takes. */
export interface CallOptions {
  /** Ends the call; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** What came of a fork. */
export interface ForkResult {
  /** The sandboxes that came to be. */
  readonly children: readonly Sandbox[]
  /** Why the others did not. */
  readonly failed: readonly PorticoError[]
  /** How long the parent stood still. */
  readonly pauseMs: number
}

export class Sandbox implements SandboxInfo {
  declare readonly id: string
  declare readonly status: SandboxStatus
  declare readonly reason: string | undefined
  declare readonly name: string | undefined
  declare readonly labels: Labels
  declare readonly image: string
  declare readonly resolvedImage: string
  declare readonly region: string
  declare readonly vcpus: number
  declare readonly memMiB: number
  declare readonly diskMiB: number
  declare readonly timeoutSec: number
  declare readonly autoResume: boolean
  declare readonly onIdle: OnIdle
  declare readonly createMs: number
  declare readonly createdAt: Date
  declare readonly forkedFrom: string | undefined
  declare readonly restoredFrom: string | undefined
  declare readonly urlTemplate: string | undefined
  readonly #transport: Transport
  readonly #creations: Creations
  readonly #path: string
  readonly #files: SandboxFiles
  readonly #processes: Processes
  readonly #consoles: Consoles
  readonly #ports: SandboxPorts
  readonly #services: SandboxServices
  readonly #checkpoints: SandboxCheckpoints
  readonly #store: SandboxStore

  /** @internal Made by Portico alone, and by `fork`. */
  constructor(transport: Transport, creations: Creations, info: SandboxInfo) {
    Object.assign(this, info)
    this.#transport = transport
    this.#creations = creations
    this.#path = `/v1/runs/${encodeURIComponent(info.id)}`
    this.#files = new SandboxFiles(transport, this.#path)
    this.#processes = new Processes(transport, creations.background, this.#path)
    this.#consoles = new Consoles(transport, this.#path)
    this.#ports = new SandboxPorts(transport, this.#path)
    this.#services = new SandboxServices(transport, this.#path)
    this.#checkpoints = new SandboxCheckpoints(transport, this.#path)
    this.#store = new SandboxStore(transport, this.#path)
  }

  /** The sandbox's files. */
  get files(): SandboxFiles {
    return this.#files
  }

  /** Terminals that several may look at, and that outlive whoever looks. */
  get consoles(): Consoles {
    return this.#consoles
  }

  /** Servers in the sandbox, and who may use them. */
  get ports(): SandboxPorts {
    return this.#ports
  }

  /** Long-running processes that the sandbox starts, watches and starts again. */
  get services(): SandboxServices {
    return this.#services
  }

  /** Its files at moments of its life, to go back to. */
  get checkpoints(): SandboxCheckpoints {
    return this.#checkpoints
  }

  /** Values by key in the sandbox's record, at hand also while it sleeps. */
  get store(): SandboxStore {
    return this.#store
  }

  /**
   * Runs a command and waits for its end. A string is a line for the shell; a list is a program and its arguments, which no shell reads; `{ entrypoint: true, args }` is what the image runs by itself.
   * Never repeated by itself: after an UnavailableError the command may or may not have run. With `onStdout` or `onStderr` its output is told as it comes,
   * and a connection that breaks meanwhile is made again; the result is the same.
   */
  async exec(command: GuestCommand, options: ExecOptions = {}): Promise<ExecResult> {
    const { onStdout, onStderr } = options
    if (onStdout !== undefined || onStderr !== undefined) return await streamedExec(this.#processes, command, options)
    return await exec(this.#transport, this.#path, command, options)
  }

  /** Starts a command that runs on by itself, and answers at once with its handle: output, input, signals, end. */
  async spawn(command: GuestCommand, options: SpawnOptions = {}): Promise<Process> {
    return await this.#processes.spawn(command, options)
  }

  /** The processes that run by themselves, and those whose output is still kept. */
  async processes(options: CallOptions = {}): Promise<ProcessInfo[]> {
    return await this.#processes.list(options.signal)
  }

  /** The handle of a process that was started before. A NotFoundError says that it is not known (any more). */
  async process(id: string, options: ProcessOptions = {}): Promise<Process> {
    return await this.#processes.get(id, options)
  }

  /** A shell that lives on: what one command changes, the next one finds. For many small commands. */
  async shell(options: ShellOptions = {}): Promise<Shell> {
    return await Shell.open(this.#transport, this.#path, options)
  }

  /** A terminal, byte for byte, with a program on it. */
  async terminal(options: TerminalOptions = {}): Promise<Terminal> {
    return await Terminal.open(this.#transport, this.#path, options)
  }

  /** Where a server in the sandbox is reached: its public URL, or where the platform serves none, that behind the key. */
  url(port: number, path = '/'): string {
    assertPort(port)
    if (this.urlTemplate === undefined) return this.proxyUrl(port, path)
    return this.urlTemplate.replace('{port}', String(port)).replace(/\/+$/, '') + rooted(path)
  }

  /** Where a server in the sandbox is reached with `Authorization: Bearer KEY`. */
  proxyUrl(port: number, path = '/'): string {
    assertPort(port)
    return `${this.#transport.baseUrl}${this.#path}/proxy/${port}${rooted(path)}`
  }

  /** Seconds without activity after which the sandbox is destroyed or, as its `onIdle` says, hibernated; 0 switches that off. */
  async setTimeout(seconds: number, options: CallOptions = {}): Promise<void> {
    await this.update({ timeoutSec: seconds, signal: options.signal })
  }

  /** Changes name, labels or timeout; what is left out stays. */
  async update(options: UpdateOptions): Promise<void> {
    const { signal, ...changes } = options
    const call = { method: 'PATCH', path: this.#path, doing: 'change the sandbox', limitMs: shortMs } as const
    const record = await this.#transport.json({ ...call, json: updateBody(changes), signal }, runRecord)
    Object.assign(this, sandboxInfo(record))
  }

  /** What was done to it and in it, from the first entry on; `Portico.audit` also tells of sandboxes that are over. */
  audit(options: CallOptions = {}): AsyncIterable<AuditEntry> {
    return auditEntries(this.#transport, this.id, options)
  }

  /** The record as it is now. A NotFoundError says that the sandbox is gone. */
  async info(options: CallOptions = {}): Promise<SandboxInfo> {
    const call = { method: 'GET', path: this.#path, doing: 'look up the sandbox', limitMs: shortMs } as const
    const record = await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, runRecord)
    const info = sandboxInfo(record)
    Object.assign(this, info)
    return info
  }

  /** What it has used until now. */
  async usage(options: CallOptions = {}): Promise<SandboxUsage> {
    const path = `${this.#path}/usage`
    const call = { method: 'GET', path, doing: 'look up the usage', limitMs: shortMs } as const
    const answer = await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, usageResponse)
    return sandboxUsage(answer)
  }

  /**
   * Makes `count` sandboxes with the files, memory and processes that this one has at the moment; it goes on, and so do the commands under way in it.
   * A child that fails does not undo the others: `failed` says why. Rejects only if none came to be. If the signal ends the call, children that
   * come of it are destroyed in the background, unless you gave an `idempotencyKey`.
   */
  async fork(count = 1, options: MakeOptions = {}): Promise<ForkResult> {
    const answer = await this.#creations.make(
      {
        method: 'POST',
        path: `${this.#path}/fork`,
        doing: 'fork the sandbox',
        limitMs: saveMs,
        json: { count },
        ...options,
      },
      forkResponse,
      ({ forks }) => Promise.allSettled(forks.map(({ id }) => destroy(this.#transport, id, undefined, true))),
    )
    return {
      children: answer.forks.map((record) => new Sandbox(this.#transport, this.#creations, sandboxInfo(record))),
      failed: answer.failed.map(({ code, error }) => reported(code, error)),
      pauseMs: answer.pause_ms,
    }
  }

  /**
   * Keeps the state of this moment until `Portico.deleteSnapshot`, whatever becomes of the sandbox, which goes on; `Portico.restore` makes sandboxes of
   * it. If the signal ends the call, a snapshot that comes of it is deleted in the background, unless you gave an `idempotencyKey`.
   */
  async snapshot(options: MakeOptions = {}): Promise<SnapshotInfo> {
    const answer = await this.#creations.make(
      {
        method: 'POST',
        path: `${this.#path}/snapshot`,
        doing: 'take a snapshot',
        limitMs: saveMs,
        ...options,
      },
      snapshotResponse,
      ({ snapshot_id }) => deleteSnapshot(this.#transport, snapshot_id, undefined, true),
    )
    return snapshotInfo(answer.snapshot_id, answer)
  }

  /** Puts the sandbox to sleep: files, memory and processes stay, nothing runs and nothing is billed until `resume()`. One that sleeps already sleeps on. */
  async hibernate(options: CallOptions = {}): Promise<void> {
    await this.#move('hibernate', 'hibernate the sandbox', options)
  }

  /** Wakes a hibernated sandbox: everything in it goes on where it was. One that runs runs on. */
  async resume(options: CallOptions = {}): Promise<void> {
    await this.#move('resume', 'resume the sandbox', options)
  }

  /** Ends the sandbox and all that is in it, and answers with what it used. A NotFoundError says that it was gone already. */
  async destroy(options: CallOptions = {}): Promise<SandboxUsage> {
    const usage = await destroy(this.#transport, this.id, options.signal)
    Object.assign(this, { status: 'destroyed' })
    return usage
  }

  async #move(verb: 'hibernate' | 'resume', doing: string, { signal }: CallOptions): Promise<void> {
    const call = { method: 'POST', path: `${this.#path}/${verb}`, doing, limitMs: saveMs } as const
    Object.assign(this, sandboxInfo(await this.#transport.json({ ...call, repeatable: true, signal }, runRecord)))
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
