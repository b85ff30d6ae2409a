/**
 * A console's way to its process: the agent's calls that concern it, made from the console's object. The route is asked for once and kept until
 * a runner says that it is wrong. It wakes nothing by itself: whoever calls has looked at the sandbox's state first, or means to use it.
 */

import { type ProcessRecord, processRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newRequestId } from '@portico/shared/ids'
import { guestError } from '../guest/guest-errors.ts'
import { callRequest, type GuestCall, readAnswer } from '../guest/wire.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { Caller, Objects, Route } from '../ports.ts'
import type { ProcessWire } from './attachment.ts'

/** How long the agent may take over a call that does nothing slow. */
const waitMs = 30_000
/** Bytes of input wait for as long as the program does not read. */
const inputWaitMs = 600_000

export interface GuestLineOptions {
  readonly objects: Objects
  /** The object of a runner, as a server of calls. */
  readonly fetcher: (runner: string) => Fetcher
  readonly caller: Caller
  readonly sandbox: string
}

interface LineRequest {
  readonly method: GuestCall['method']
  readonly path: string
  readonly body?: string | ReadableStream
  readonly type?: string
  readonly waitMs?: number
  readonly openEnded?: boolean
  readonly signal?: AbortSignal
}

/** Whether the sandbox can be reached now, without waking it. */
export type Reachable = 'running' | 'asleep' | 'gone'

export class GuestLine {
  readonly #options: GuestLineOptions
  #route: Route | undefined

  constructor(options: GuestLineOptions) {
    this.#options = options
  }

  async reachable(): Promise<Reachable> {
    const { objects, sandbox, caller } = this.#options
    const read = await reach('read the sandbox', objects.sandbox(sandbox).read(caller))
    if (!read.ok) {
      if (read.error.code === 'sandbox_not_found') return 'gone'
      throw AppError.fromWire(read.error)
    }
    const { status } = read.value
    if (status === 'running') return 'running'
    return status === 'error' || status === 'destroyed' || status === 'lost' ? 'gone' : 'asleep'
  }

  /** Starts a process that is kept, or a shell. */
  async start(path: '/processes' | '/shells', asked: object): Promise<ProcessRecord> {
    return this.#process({ method: 'POST', path, body: JSON.stringify(asked), type: 'application/json' })
  }

  /** The calls that concern one process. */
  process(id: string): ProcessWire {
    const query = `?id=${encodeURIComponent(id)}`
    const json = (path: string, body: object) =>
      this.#process({ method: 'POST', path: path + query, body: JSON.stringify(body), type: 'application/json' })
    return {
      attach: async (from, input, signal) => {
        // Rare enough to ask anew, and a sandbox that wakes by it has to have room.
        this.#route = undefined
        const path = `/processes/attach${query}&from=${from}&hold=1`
        const answer = await this.#call({ method: 'POST', path, body: input, openEnded: true, signal })
        if (answer.body === null) throw new AppError('guest_error', 'cannot read the output of the process: none came')
        return answer.body
      },
      status: () => this.#process({ method: 'GET', path: `/processes/status${query}` }),
      stdin: (at, bytes) =>
        this.#process({
          method: 'POST',
          path: `/processes/stdin${query}&at=${at}`,
          body: new Blob([bytes as Uint8Array<ArrayBuffer>]).stream(),
          waitMs: inputWaitMs,
        }),
      signal: (signal) => json('/processes/signal', { signal }),
      run: (run, command) => json('/shells/run', { run, command }),
      remove: () => this.#process({ method: 'DELETE', path: `/processes${query}` }),
    }
  }

  async #process(request: LineRequest): Promise<ProcessRecord> {
    const parsed = processRecord.safeParse(await (await this.#call(request)).json())
    if (parsed.success) return parsed.data
    throw new AppError('guest_error', 'cannot read the state of the process: the sandbox answered something else')
  }

  async #call(request: LineRequest): Promise<Response> {
    const known = this.#route
    try {
      return await this.#send(known ?? (await this.#find()), request)
    } catch (thrown) {
      const { code } = AppError.from(thrown)
      if (code !== 'moved' && code !== 'sandbox_not_found' && code !== 'runner_disconnected') throw thrown
      this.#route = undefined
      if (known === undefined || code === 'runner_disconnected' || request.body instanceof ReadableStream) throw thrown
      return await this.#send(await this.#find(), request)
    }
  }

  async #find(): Promise<Route> {
    const { objects, sandbox, caller } = this.#options
    this.#route = unwrap(await reach('find the sandbox', objects.sandbox(sandbox).route(caller)))
    return this.#route
  }

  async #send(
    route: Route,
    { method, path, body, type, waitMs: wait = waitMs, openEnded, signal }: LineRequest,
  ): Promise<Response> {
    const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type }
    if (typeof body === 'string') headers['content-length'] = String(new TextEncoder().encode(body).length)
    const { runner, generation } = route
    const { sandbox } = this.#options
    const how = { wait_ms: wait, ...(openEnded ? { open_ended: true } : {}) }
    const call = { sandbox, generation, method, path, headers, request_id: newRequestId(), ...how }
    const [url, init] = callRequest(call, body ?? null)
    const fetched = this.#options.fetcher(runner).fetch(url, signal === undefined ? init : { ...init, signal })
    const answer = await readAnswer(await reach('reach the sandbox', fetched))
    if (answer.status < 400) return answer
    throw guestError(answer.status, await answer.text())
  }
}
