/** Services of a sandbox: long-running processes that its supervisor keeps. */

import { inSandboxExecResponse, serviceDeleted, serviceList, serviceRecord } from '@portico/shared/api'
import { execGraceMs, saveMs, shortMs } from '../limits.ts'
import type { DataPlane } from './data-plane.ts'
import type { ExecResult } from './exec.ts'
import type { CallOptions } from './wire.ts'

export interface ServiceDefinition {
  /** An executable. */
  readonly cmd: string
  readonly args?: readonly string[] | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly working_dir?: string | undefined
  /** A Unix user. */
  readonly user?: string | undefined
  /** It runs once this TCP port takes connections. */
  readonly health_port?: number | undefined
  /** Services that are started, and must run, before this one. */
  readonly needs?: readonly string[] | undefined
  /** Runs in an OCI container. */
  readonly container?: boolean | undefined
  /** Required where `container` is true. */
  readonly image?: string | undefined
  readonly restart?: 'no' | 'on-failure' | 'always' | undefined
  /** From its start to being ready; 60 unless told. */
  readonly start_timeout_secs?: number | undefined
  /** From SIGTERM to SIGKILL; 10 unless told. */
  readonly stop_timeout_secs?: number | undefined
}

/** `unknown` is starting or stopping. */
export type ServiceStatus = 'running' | 'stopped' | 'failed' | 'unknown'

export interface Service {
  readonly name: string
  readonly cmd: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly working_dir: string | null
  readonly user: string | null
  readonly health_port: number | null
  readonly needs: readonly string[]
  readonly container: boolean
  readonly image: string
  readonly status: ServiceStatus
  /** null where it does not run. */
  readonly pid: number | null
  /** Why it is in its status; may be empty. */
  readonly reason: string
  readonly exit_code: number | null
  readonly started_at: string | null
  readonly restarts: number
}

/** What a start may take beyond the one service's own limit: its image and what it needs. */
const startMs = 15 * 60_000
const execDefaultSecs = 60

export class Services {
  readonly #plane: DataPlane

  /** @internal Made by Sandbox alone. */
  constructor(plane: DataPlane) {
    this.#plane = plane
  }

  /** Creates the definition or replaces it; starts nothing. */
  async upsert(name: string, definition: ServiceDefinition, { signal }: CallOptions = {}): Promise<Service> {
    const call = { method: 'PUT', path: at(name), doing: `define the service ${name}`, limitMs: startMs } as const
    return await this.#plane.json({ ...call, json: definition, signal }, serviceRecord)
  }

  /** Starts it once what it needs is ready, and waits until it is ready itself. */
  async start(name: string, { signal }: CallOptions = {}): Promise<Service> {
    const call = { method: 'POST', path: `${at(name)}/start`, doing: `start the service ${name}` } as const
    return await this.#plane.json({ ...call, limitMs: startMs, signal }, serviceRecord)
  }

  async stop(name: string, { signal }: CallOptions = {}): Promise<Service> {
    const call = { method: 'POST', path: `${at(name)}/stop`, doing: `stop the service ${name}` } as const
    return await this.#plane.json({ ...call, limitMs: startMs, signal }, serviceRecord)
  }

  async get(name: string, { signal }: CallOptions = {}): Promise<Service> {
    const call = { method: 'GET', path: at(name), doing: `look at the service ${name}`, limitMs: shortMs } as const
    return await this.#plane.json({ ...call, repeatable: true, signal }, serviceRecord)
  }

  /** All of them, by name. */
  async list({ signal }: CallOptions = {}): Promise<Service[]> {
    const call = { method: 'GET', path: '/v1/services', doing: 'list the services', limitMs: shortMs } as const
    return await this.#plane.json({ ...call, repeatable: true, signal }, serviceList)
  }

  /** Stops it and removes its definition. */
  async delete(name: string, { signal }: CallOptions = {}): Promise<void> {
    const call = { method: 'DELETE', path: at(name), doing: `delete the service ${name}`, limitMs: saveMs } as const
    await this.#plane.json({ ...call, signal }, serviceDeleted)
  }

  /** Runs one command in the container of a running service that has one. */
  async exec(
    name: string,
    cmd: readonly string[],
    options: CallOptions & { readonly timeout_secs?: number } = {},
  ): Promise<ExecResult> {
    const { signal, timeout_secs } = options
    const limitMs = (timeout_secs ?? execDefaultSecs) * 1000 + execGraceMs
    const json = timeout_secs === undefined ? { cmd } : { cmd, timeout_secs }
    const call = { method: 'POST', path: `${at(name)}/exec`, doing: `run the command in ${name}`, limitMs } as const
    return await this.#plane.json({ ...call, json, signal }, inSandboxExecResponse)
  }
}

function at(name: string): string {
  return `/v1/services/${encodeURIComponent(name)}`
}
