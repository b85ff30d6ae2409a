/**
 * A platform in one process: an HTTP server that speaks the documented wire and checks what it is asked with the shared schemas. Its guest is a small
 * script (`guest.ts`), or what a test puts in `exec`; a copy of a sandbox (`wire-saved.ts`) has its files; `wire-account.ts` and `wire-admin.ts` keep what
 * is the account's and the operator's. It remembers every request, and answers chosen ones as a test says: with an error, late, or not.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  createRequest,
  type ErrorBody,
  type ExecRequest,
  type ExecResponse,
  execRequest,
  type ForkResponse,
  forkRequest,
  type RunRecord,
  restoreRequest,
  type UsageResponse,
  updateRequest,
} from '@portico/shared/api'
import { AppError, describe, type ErrorCode } from '@portico/shared/errors'
import { newRequestId, newSandboxId } from '@portico/shared/ids'
import { scriptedGuest } from './guest.ts'
import { WireAccount } from './wire-account.ts'
import { WireAdmin } from './wire-admin.ts'
import { type Answer, json } from './wire-answer.ts'
import { checkpoints } from './wire-checkpoints.ts'
import { WireConsoles } from './wire-consoles.ts'
import { files } from './wire-files.ts'
import { WireImages } from './wire-images.ts'
import { WirePorts } from './wire-ports.ts'
import { WireProcesses } from './wire-processes.ts'
import { matches, parse, read, type SeenRequest } from './wire-request.ts'
import {
  copies,
  emptySandbox,
  hibernate,
  resume,
  type StoredSandbox,
  type StoredSnapshot,
  snapshot,
  wake,
} from './wire-saved.ts'
import { printAnswer } from './wire-script.ts'
import { WireServices } from './wire-services.ts'
import { WireSockets } from './wire-sockets.ts'
import { store } from './wire-store.ts'

export type { SeenRequest } from './wire-request.ts'

/** Answers instead of the platform. */
export type Interceptor = (seen: SeenRequest, response: ServerResponse) => unknown

interface Interception {
  readonly route: string
  readonly answer: Interceptor
  left: number
}

export class WireServer {
  readonly apiKey = 'portico_live_local_account_secret'
  readonly account = new WireAccount()
  readonly admin = new WireAdmin()
  readonly requests: SeenRequest[] = []
  readonly sandboxes = new Map<string, StoredSandbox>()
  readonly snapshots = new Map<string, StoredSnapshot>()
  readonly images = new WireImages()
  /** What the guest answers to a command. */
  exec: (request: ExecRequest, seen: SeenRequest) => Promise<ExecResponse> | ExecResponse = scriptedGuest
  /** What runs on by itself. */
  readonly processes = new WireProcesses((process, request, seen) => printAnswer(process, request, seen, this.exec))
  readonly ports = new WirePorts()
  readonly consoles = new WireConsoles()
  readonly services = new WireServices()
  /** WebSockets: each waits here until a test takes it. */
  readonly sockets: WireSockets
  readonly #server: Server
  /** Answers by their idempotency keys. */
  readonly #answered = new Map<string, { readonly request: string; readonly answer: Answer }>()
  readonly #interceptions: Interception[] = []
  readonly #waiting: { route: string; found: (seen: SeenRequest) => void }[] = []

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response))
    this.sockets = new WireSockets(this.#server, this.apiKey)
  }

  static async open(): Promise<WireServer> {
    const wire = new WireServer()
    await new Promise<void>((resolve) => wire.#server.listen(0, '127.0.0.1', resolve))
    return wire
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The environment that points SDK and CLI here. */
  get environment(): { PORTICO_URL: string; PORTICO_API_KEY: string; PORTICO_ADMIN_KEY: string } {
    return { PORTICO_URL: this.url, PORTICO_API_KEY: this.apiKey, PORTICO_ADMIN_KEY: this.admin.key }
  }

  /** Answers the next `times` requests of a route, such as `POST /v1/runs` or `GET /v1/runs/*`, by `answer`. */
  intercept(route: string, answer: Interceptor, times = 1): void {
    this.#interceptions.push({ route, answer, left: times })
  }

  /** Answers the next `times` requests of a route with an error of the table, which asks to be called again after so many seconds. */
  fail(route: string, code: ErrorCode, times = 1, retryAfter?: number): void {
    const error = new AppError(code, `cannot do it: ${code}`)
    this.intercept(route, (_seen, response) => sendError(response, error, retryAfter), times)
  }

  /** The next request of a route, at the moment it has arrived whole. */
  arrival(route: string): Promise<SeenRequest> {
    return new Promise((found) => this.#waiting.push({ route, found }))
  }

  /** How often a route was asked. */
  count(route: string): number {
    return this.requests.filter((seen) => matches(route, seen)).length
  }

  async close(): Promise<void> {
    this.sockets.close()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  /** Answers as the platform does. */
  async answer(seen: SeenRequest, response: ServerResponse): Promise<void> {
    const [, version, resource, id = '', verb = '', ...rest] = seen.path.split('/')
    const ofImage = resource === 'images' && verb === 'events'
    const streams = verb === 'processes' || (verb === 'services' && rest[1] === 'logs')
    if (version !== 'v1' || !(ofImage || (resource === 'runs' && streams)))
      return send(response, await this.#answer(seen))
    if (seen.headers.authorization !== `Bearer ${this.apiKey}`)
      throw new AppError('unauthorized', 'cannot use the API: the key is not known')
    if (ofImage) return await this.images.follow(id, seen, response)
    const sandbox = this.sandboxes.get(id)
    if (!sandbox) throw new AppError('sandbox_not_found', `cannot find sandbox ${id}`)
    wake(sandbox)
    if (verb === 'processes') await this.processes.answer(seen, response, rest)
    else await this.services.print(rest[0] ?? '', seen, response)
  }

  /** Does what is asked as the platform does, and keeps the answer to itself. */
  async perform(seen: SeenRequest): Promise<void> {
    await this.#answer(seen)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const seen = await read(request, response)
      this.requests.push(seen)
      const waiting = this.#waiting.findIndex(({ route }) => matches(route, seen))
      if (waiting >= 0) this.#waiting.splice(waiting, 1)[0]?.found(seen)
      const interception = this.#interceptions.find(({ route, left }) => left > 0 && matches(route, seen))
      if (interception) {
        interception.left--
        await interception.answer(seen, response)
      } else await this.answer(seen, response)
    } catch (error) {
      // A caller that went away in the middle of its body is nobody to answer.
      if (!response.destroyed) sendError(response, AppError.from(error, `cannot answer: ${String(error)}`))
    }
  }

  async #answer(seen: SeenRequest): Promise<Answer> {
    if (seen.path.startsWith('/admin/')) return json(...this.admin.answer(seen))
    if (seen.headers.authorization !== `Bearer ${this.apiKey}`)
      throw new AppError('unauthorized', 'cannot use the API: the key is not known')
    const key = seen.headers['idempotency-key']
    if (typeof key !== 'string') return await this.#do(seen)
    const request = `${seen.method} ${seen.path} ${seen.body}`
    const before = this.#answered.get(key)
    if (before && before.request !== request)
      throw new AppError('idempotency_mismatch', 'cannot use the key: it stands for another request')
    const answer = before?.answer ?? (await this.#do(seen))
    this.#answered.set(key, { request, answer })
    return answer
  }

  async #do(seen: SeenRequest): Promise<Answer> {
    const [, version, resource, id, ...rest] = seen.path.split('/')
    if (version !== 'v1') throw new AppError('not_found', `cannot find ${seen.path}`)
    if (resource === 'images') return json(...this.images.answer(seen, id))
    if (resource === 'snapshots') return this.#saved(seen, id)
    if (resource !== 'runs' || id === 'history' || rest[0] === 'audit') return this.#ofAccount(seen)
    if (id === undefined) return this.#collection(seen)
    if (id === 'restore') return this.#restore(seen)
    const sandbox = this.sandboxes.get(id)
    if (!sandbox) throw new AppError('sandbox_not_found', `cannot find sandbox ${id}`)
    return await this.#one(sandbox, seen, rest)
  }

  #ofAccount(seen: SeenRequest): Answer {
    const found = this.account.answer(seen, this.sandboxes.size)
    return typeof found === 'string' ? { status: 200, type: 'application/x-ndjson', body: found } : json(...found)
  }

  #collection(seen: SeenRequest): Answer {
    if (seen.method === 'GET') {
      const records = [...this.sandboxes.values()].map(({ record }) => record).reverse()
      return json(200, this.account.page(records.filter(fits(seen.query)), seen.query))
    }
    const asked = parse(createRequest, seen)
    const { image, vcpus, mem_mib, disk_mib, timeout, auto_resume, on_idle, name, labels } = asked
    if (image.startsWith('no-such')) throw new AppError('image_unknown', `cannot create a sandbox: no image ${image}`)
    const record: RunRecord = {
      id: newSandboxId(),
      status: 'running',
      ...(name === undefined ? {} : { name }),
      labels,
      image,
      resolved_image: image.split(':')[0] ?? image,
      region: 'local',
      vcpus,
      mem_mib,
      disk_mib,
      timeout,
      auto_resume,
      on_idle,
      create_ms: 12,
      created_at: new Date().toISOString(),
    }
    this.sandboxes.set(record.id, emptySandbox(record))
    this.account.note(record.id, 'sandbox.created', { image, vcpus })
    return json(201, record)
  }

  async #one(sandbox: StoredSandbox, seen: SeenRequest, [verb, sub, last]: readonly string[]): Promise<Answer> {
    switch (verb) {
      case 'exec':
        wake(sandbox)
        return json(200, await this.exec(parse(execRequest, seen), seen))
      case 'files':
        wake(sandbox)
        return files(sandbox, sub, seen)
      case 'services':
        wake(sandbox)
        return json(200, this.services.answer(seen, sub, last))
      case 'checkpoints':
        return json(200, checkpoints(sandbox, seen, sub, last))
      case 'store':
        return json(200, store(sandbox, seen, sub))
      case 'fork':
        return json(201, this.#fork(sandbox, parse(forkRequest, seen).count))
      case 'snapshot':
        return json(201, snapshot(this.snapshots, sandbox))
      case 'hibernate':
        return json(200, hibernate(sandbox))
      case 'resume':
        return json(200, resume(sandbox))
      case 'usage':
        return json(200, usage)
      case 'ports':
        return json(...this.ports.answer(sandbox.record, seen, sub, last))
      case 'consoles':
        return json(...this.consoles.answer(sandbox.record, seen, sub, last))
    }
    if (seen.method === 'DELETE') {
      this.sandboxes.delete(sandbox.record.id)
      this.account.end(sandbox.record, usage)
      return json(200, { status: 'destroyed', ...usage })
    }
    if (seen.method === 'PATCH') {
      const { timeout, labels, name = sandbox.record.name } = parse(updateRequest, seen)
      const { name: _former, ...record } = sandbox.record
      Object.assign(record, timeout === undefined ? {} : { timeout }, labels === undefined ? {} : { labels })
      sandbox.record = typeof name === 'string' ? { ...record, name } : record
    }
    return json(200, sandbox.record)
  }

  #fork(parent: StoredSandbox, count: number): ForkResponse {
    wake(parent)
    const children = copies(parent, count, { forked_from: parent.record.id })
    for (const child of children) this.sandboxes.set(child.record.id, child)
    return { forks: children.map(({ record }) => record), failed: [], pause_ms: 14 }
  }

  #restore(seen: SeenRequest): Answer {
    const { snapshot_id, timeout, auto_resume, on_idle, name, labels } = parse(restoreRequest, seen)
    const from = this.snapshots.get(snapshot_id)
    if (!from) throw new AppError('snapshot_not_found', `cannot find snapshot ${snapshot_id}`)
    const { record } = from.sandbox
    const [restored] = copies(from.sandbox, 1, {
      restored_from: snapshot_id,
      ...(name === undefined ? {} : { name }),
      labels: labels ?? record.labels,
      timeout: timeout ?? record.timeout,
      auto_resume: auto_resume ?? record.auto_resume,
      on_idle: on_idle ?? record.on_idle,
    })
    if (restored) this.sandboxes.set(restored.record.id, restored)
    return json(201, restored?.record)
  }

  #saved(seen: SeenRequest, id: string | undefined): Answer {
    if (id === undefined)
      return json(200, { snapshots: [...this.snapshots.values()].map(({ shown }) => shown).reverse() })
    if (seen.method !== 'DELETE' || !this.snapshots.delete(id))
      throw new AppError('snapshot_not_found', `cannot find snapshot ${id}`)
    return json(200, { id, status: 'deleted' })
  }
}

function send(response: ServerResponse, { status, type, body, headers: more }: Answer): void {
  const headers = {
    ...more,
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'x-request-id': newRequestId(),
  }
  response.writeHead(status, headers).end(body)
}

/** Answers with JSON, for interceptors. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  send(response, json(status, value))
}

/** Answers with the platform's error body. */
function sendError(response: ServerResponse, error: AppError, retryAfter?: number): void {
  if (retryAfter !== undefined) response.setHeader('retry-after', String(retryAfter))
  const { retryable, hint } = describe(error.code)
  const about = { error: error.message, code: error.code, retryable, request_id: newRequestId() }
  const body: ErrorBody = hint === undefined ? about : { ...about, hint }
  sendJson(response, error.status, body)
}

const usage: UsageResponse = {
  cpu_ms: 40,
  mem_peak_bytes: 50_000_000,
  mem_current_bytes: 40_000_000,
  disk_used_bytes: 1_000_000,
  uptime_ms: 1500,
  cost_cents: 0.0016,
}

/** Whether a record is one that a list asks for. */
function fits(query: URLSearchParams): (record: RunRecord) => boolean {
  const states = query.get('state')?.split(',')
  const labels = query
    .getAll('label')
    .map((text) => [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)])
  return ({ status, name, region, labels: has }) =>
    (states?.includes(status) ?? true) &&
    labels.every(([key = '', value]) => has[key] === value) &&
    name === (query.get('name') ?? name) &&
    region === (query.get('region') ?? region)
}
