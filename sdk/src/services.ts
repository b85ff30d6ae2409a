/** Services of a sandbox: long-running processes that it starts in order, watches, and starts again. Their definitions stay until they are deleted. */

import {
  inSandboxExecResponse,
  type ServiceRequest,
  serviceDeleted,
  serviceList,
  serviceRecord,
  type ServiceRecord as Wire,
} from '@portico/shared/api'
import { execGraceMs, serviceImageMs, serviceStartMs, serviceStopMs, shortMs } from './limits.ts'
import { followRecords, type ProcessOutput, printedRecords, withoutEnd } from './output.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

/** What happens when it ends by itself. */
export type RestartPolicy = 'no' | 'on-failure' | 'always'

/** `failed` ended otherwise than with 0, was not ready in time, or could not be started; `unknown` is starting or stopping. */
export type ServiceStatus = 'running' | 'stopped' | 'failed' | 'unknown'

/** What a service is. */
export interface ServiceOptions extends CallOptions {
  /** An executable, found in PATH; no shell reads it. */
  readonly cmd: string
  readonly args?: readonly string[] | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly workingDir?: string | undefined
  /** A user of the sandbox (or of the image), by name or number. */
  readonly user?: string | undefined
  /** It is ready when this TCP port takes connections; without one, when its process has started. */
  readonly healthPort?: number | undefined
  /** These are started first, in order, each until it is ready. */
  readonly needs?: readonly string[] | undefined
  /** Runs it in a file system of its own, that of `image`. */
  readonly container?: boolean | undefined
  readonly image?: string | undefined
  /** `no` unless told. */
  readonly restart?: RestartPolicy | undefined
  /** From its start to being ready; 60 unless told. */
  readonly startTimeoutSec?: number | undefined
  /** From SIGTERM to SIGKILL; 10 unless told. */
  readonly stopTimeoutSec?: number | undefined
}

/** A service as it is. */
export interface ServiceInfo {
  readonly name: string
  readonly cmd: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly workingDir: string | undefined
  readonly user: string | undefined
  readonly healthPort: number | undefined
  readonly needs: readonly string[]
  readonly container: boolean
  /** Empty unless it is a container. */
  readonly image: string
  readonly restart: RestartPolicy
  readonly startTimeoutSec: number
  readonly stopTimeoutSec: number
  readonly status: ServiceStatus
  /** Of a running one. */
  readonly pid: number | undefined
  /** Why it is in its status, where that needs one. */
  readonly reason: string | undefined
  /** Of its last end. */
  readonly exitCode: number | undefined
  /** Of its last start. */
  readonly startedAt: Date | undefined
  /** How often it was started again since somebody started it. */
  readonly restarts: number
}

export interface ServiceLogOptions extends CallOptions {
  /** The offset of the first byte that is wanted; 0 unless told. */
  readonly from?: number | undefined
  /** Also what is printed from now on. */
  readonly follow?: boolean | undefined
}

export interface ServiceExecOptions extends CallOptions {
  /** Seconds after which the command is ended; 60 unless told, at most a day. */
  readonly timeoutSec?: number | undefined
}

/** How a command in a service ended. */
export interface ServiceExecResult {
  readonly exitCode: number
  /** The exit code is 0. */
  readonly ok: boolean
  readonly stdout: string
  readonly stderr: string
  readonly timedOut: boolean
  readonly durationMs: number
}

/** The platform's own default for a command's timeout. */
const execSec = 60

export class SandboxServices {
  readonly #transport: Transport
  readonly #path: string

  /** @internal Made by Sandbox alone. */
  constructor(transport: Transport, sandboxPath: string) {
    this.#transport = transport
    this.#path = `${sandboxPath}/services`
  }

  /** Defines a service, or defines it anew. Nothing is started; one that runs goes on as it was until it is started again. */
  async upsert(name: string, { signal, ...options }: ServiceOptions): Promise<ServiceInfo> {
    const call = { method: 'PUT', path: this.#of(name), doing: `define the service ${name}` } as const
    const json = definition(options)
    const limitMs = options.container ? serviceImageMs : shortMs
    return info(await this.#transport.json({ ...call, json, limitMs, repeatable: true, signal }, serviceRecord))
  }

  /** Starts a service and those that it needs, and answers when it is ready. One that runs runs on. */
  async start(name: string, { signal }: CallOptions = {}): Promise<ServiceInfo> {
    const call = { method: 'POST', path: `${this.#of(name)}/start`, doing: `start the service ${name}` } as const
    return info(
      await this.#transport.json({ ...call, limitMs: serviceStartMs, repeatable: true, signal }, serviceRecord),
    )
  }

  /** Stops a service, and answers when it has ended. One that does not run stays stopped. */
  async stop(name: string, { signal }: CallOptions = {}): Promise<ServiceInfo> {
    const call = { method: 'POST', path: `${this.#of(name)}/stop`, doing: `stop the service ${name}` } as const
    return info(
      await this.#transport.json({ ...call, limitMs: serviceStopMs, repeatable: true, signal }, serviceRecord),
    )
  }

  /** A service as it is now. */
  async get(name: string, { signal }: CallOptions = {}): Promise<ServiceInfo> {
    const call = {
      method: 'GET',
      path: this.#of(name),
      doing: `look up the service ${name}`,
      limitMs: shortMs,
    } as const
    return info(await this.#transport.json({ ...call, repeatable: true, signal }, serviceRecord))
  }

  /** All of them, by name. */
  async list({ signal }: CallOptions = {}): Promise<ServiceInfo[]> {
    const call = { method: 'GET', path: this.#path, doing: 'list the services', limitMs: shortMs } as const
    return (await this.#transport.json({ ...call, repeatable: true, signal }, serviceList)).map(info)
  }

  /** Stops a service and forgets it. */
  async delete(name: string, { signal }: CallOptions = {}): Promise<void> {
    const call = { method: 'DELETE', path: this.#of(name), doing: `delete the service ${name}` } as const
    await this.#transport.json({ ...call, limitMs: serviceStopMs, signal }, serviceDeleted)
  }

  /** Runs a command in a container service that runs: a program and its arguments, which no shell reads. Ending the call ends the command. */
  async exec(name: string, cmd: readonly string[], options: ServiceExecOptions = {}): Promise<ServiceExecResult> {
    const { timeoutSec = execSec, signal } = options
    const path = `${this.#of(name)}/exec`
    const call = { method: 'POST', path, doing: 'run the command', json: { cmd, timeout_secs: timeoutSec } } as const
    const limitMs = timeoutSec * 1000 + execGraceMs
    const answer = await this.#transport.json({ ...call, limitMs, signal }, inSandboxExecResponse)
    return {
      exitCode: answer.exit_code,
      ok: answer.ok,
      stdout: answer.stdout,
      stderr: answer.stderr,
      timedOut: answer.timed_out,
      durationMs: answer.duration_ms,
    }
  }

  /**
   * What a service has printed, over all its starts, and with `follow` what it prints: until it is deleted, or the signal ends it. What is no longer kept is told
   * as a gap. A connection that breaks is made again, and the reading goes on where it stood.
   */
  logs(name: string, { follow = false, ...options }: ServiceLogOptions = {}): AsyncIterable<ProcessOutput> {
    const at = (from: number) => `${this.#of(name)}/logs?from=${from}&follow=${follow}`
    const source = { doing: `read the logs of the service ${name}`, at }
    return {
      [Symbol.asyncIterator]: () =>
        follow
          ? withoutEnd(followRecords(this.#transport, source, options))
          : printedRecords(this.#transport, source, options),
    }
  }

  #of(name: string): string {
    return `${this.#path}/${encodeURIComponent(name)}`
  }
}

function definition(options: Omit<ServiceOptions, 'signal'>): { [Name in keyof ServiceRequest]: unknown } {
  const { workingDir, healthPort, startTimeoutSec, stopTimeoutSec, ...same } = options
  return {
    ...same,
    working_dir: workingDir,
    health_port: healthPort,
    start_timeout_secs: startTimeoutSec,
    stop_timeout_secs: stopTimeoutSec,
  }
}

function info(wire: Wire): ServiceInfo {
  return {
    name: wire.name,
    cmd: wire.cmd,
    args: wire.args,
    env: wire.env,
    workingDir: wire.working_dir ?? undefined,
    user: wire.user ?? undefined,
    healthPort: wire.health_port ?? undefined,
    needs: wire.needs,
    container: wire.container,
    image: wire.image,
    restart: wire.restart,
    startTimeoutSec: wire.start_timeout_secs,
    stopTimeoutSec: wire.stop_timeout_secs,
    status: wire.status,
    pid: wire.pid ?? undefined,
    reason: wire.reason === '' ? undefined : wire.reason,
    exitCode: wire.exit_code ?? undefined,
    startedAt: wire.started_at === null ? undefined : new Date(wire.started_at),
    restarts: wire.restarts,
  }
}
