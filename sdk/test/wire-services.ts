/** Services of the wire server's sandboxes. One prints what a test has it print; a command in one is answered with itself. */

import type { ServerResponse } from 'node:http'
import { type InSandboxExecResponse, type ServiceRecord, serviceExecRequest, serviceRequest } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { printRecords, WireProcess } from './wire-processes.ts'
import { parse, type SeenRequest } from './wire-request.ts'

const at = '2026-01-02T03:04:05.000Z'

export class WireServices {
  readonly all = new Map<string, ServiceRecord>()
  /** Ends logs after so many bytes, once each. */
  readonly cuts: number[] = []
  readonly #logs = new Map<string, WireProcess>()

  answer(seen: SeenRequest, name?: string, verb?: string): unknown {
    if (name === undefined) return [...this.all.values()]
    if (seen.method === 'PUT') return this.#define(name, seen)
    const service = this.#find(name)
    if (verb === 'start' || verb === 'stop') return this.#move(service, verb)
    if (verb === 'exec') return run(service, parse(serviceExecRequest, seen))
    if (seen.method !== 'DELETE') return service
    this.all.delete(name)
    this.log(name).exit(0)
    return { ok: true, deleted: true }
  }

  /** What a service prints. */
  log(name: string): WireProcess {
    const log = this.#logs.get(name) ?? new WireProcess(name, { command: name })
    this.#logs.set(name, log)
    return log
  }

  async print(name: string, seen: SeenRequest, response: ServerResponse): Promise<void> {
    this.#find(name)
    await printRecords(this.log(name), seen, response, this.cuts.shift())
  }

  #find(name: string): ServiceRecord {
    const service = this.all.get(name)
    if (service === undefined) throw new AppError('service_not_found', `cannot find the service ${name}`)
    return service
  }

  #define(name: string, seen: SeenRequest): ServiceRecord {
    const { working_dir = null, user = null, health_port = null, ...asked } = parse(serviceRequest, seen)
    const before = this.all.get(name) ?? idle
    const { status, pid, reason, exit_code, started_at, restarts } = before
    const state = { status, pid, reason, exit_code, started_at, restarts }
    const service = { name, ...asked, working_dir, user, health_port, ...state }
    this.all.set(name, service)
    return service
  }

  #move(service: ServiceRecord, verb: 'start' | 'stop'): ServiceRecord {
    if (service.cmd === 'fails') throw new AppError('service_failed', `cannot start ${service.name}: it ended with 1`)
    const state =
      verb === 'start'
        ? ({ status: 'running', pid: 41, started_at: at } as const)
        : ({ status: 'stopped', pid: null, exit_code: 143 } as const)
    const moved = { ...service, ...state }
    this.all.set(service.name, moved)
    return moved
  }
}

const idle = { status: 'stopped', pid: null, reason: '', exit_code: null, started_at: null, restarts: 0 } as const

function run(
  { name, container, status }: ServiceRecord,
  { cmd }: { readonly cmd: readonly string[] },
): InSandboxExecResponse {
  if (!container || status !== 'running')
    throw new AppError('conflict', `cannot run a command in ${name}: it is no container that runs`)
  const exit_code = cmd[0] === 'false' ? 1 : 0
  return { stdout: `${cmd.join(' ')}\n`, stderr: '', exit_code, ok: exit_code === 0, timed_out: false, duration_ms: 2 }
}
