/**
 * One HTTP call: key, limit, repeats where they are safe, and an answer that has been checked or an error of the SDK. Knows nothing of sandboxes.
 * A call is repeated only if it says `repeatable` (looking something up, or what is the same done twice, such as destroying) or has an idempotency key,
 * under which the platform does it once. One that was refused for its rate alone did nothing, and is repeated whatever it is.
 */

import { Backoff } from '@portico/shared/backoff'
import { type Clock, sleep, systemClock } from '@portico/shared/clock'
import { abortable } from '@portico/shared/dispose'
import type { z } from 'zod'
import { CallScope } from './call-scope.ts'
import { makeError, PorticoError, RateLimitError, UnavailableError, ValidationError } from './errors.ts'
import { refused, unreachable, unreadable } from './failures.ts'
import { idleMs, longestWaitMs, retries, shortMs } from './limits.ts'
import { patient } from './platform.ts'
import { connectSocket, type Socket, type WebSocketConstructor } from './socket.ts'

/** A body that is no JSON. */
export type Bytes = string | Uint8Array<ArrayBuffer> | Blob | ReadableStream<Uint8Array>

/** One call of the API. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Path and query. */
  readonly path: string
  /** Completes "cannot …" in its errors. */
  readonly doing: string
  /** From the first try to the answer: to its last byte, or for a stream to its head. */
  readonly limitMs: number
  readonly signal?: AbortSignal | undefined
  readonly json?: unknown
  readonly bytes?: Bytes
  readonly repeatable?: boolean
  /** The platform does a call with this key once, however often it comes. */
  readonly idempotencyKey?: string | undefined
  /** Goes on when the client is closed. */
  readonly detached?: boolean
  /** The media type that is wanted. */
  readonly accept?: string
  /** How long a stream may stand still. */
  readonly idleMs?: number
  /** Beside those of every call. */
  readonly headers?: Readonly<Record<string, string>>
}

/** An answer whose body is still on its way. Read it to its end or cancel it. */
export interface Opened {
  readonly status: number
  readonly headers: Headers
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>
}

/** A WebSocket of the API. */
export interface SocketCall {
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly doing: string
  /** In place of the key. */
  readonly token?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface TransportOptions {
  readonly baseUrl: string
  readonly apiKey: string
  readonly fetch?: typeof fetch | undefined
  readonly webSocket?: WebSocketConstructor | undefined
  readonly clock?: Clock
}

export class Transport {
  readonly baseUrl: string
  readonly #apiKey: string
  readonly #fetch: typeof fetch
  readonly #extra: object
  readonly #webSocket: WebSocketConstructor | undefined
  readonly #clock: Clock
  readonly #life = new AbortController()

  constructor(options: TransportOptions) {
    this.baseUrl = options.baseUrl
    this.#apiKey = options.apiKey
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init))
    this.#extra = options.fetch === undefined ? patient() : {}
    this.#webSocket = options.webSocket
    this.#clock = options.clock ?? systemClock
  }

  /** What its waits go by. */
  get clock(): Clock {
    return this.#clock
  }

  /** Aborts when the client is closed. */
  get closed(): AbortSignal {
    return this.#life.signal
  }

  /** Ends every call under way, except detached ones, and refuses new ones. */
  close(): void {
    const message = 'cannot go on: the client is closed'
    this.#life.abort(makeError({ code: 'cancelled', message, status: 0, retryable: false }))
  }

  /** Calls, and answers with the JSON of the response as `schema` has checked it. */
  async json<Schema extends z.ZodType>(call: Call, schema: Schema): Promise<z.output<Schema>> {
    const scope = this.#open(call)
    try {
      const response = await this.#send(call, scope)
      const text = await this.#whole(call, scope, () => response.text())
      return check(response, call.doing, text, schema)
    } finally {
      scope.end()
    }
  }

  /** Calls; what the answer says is of no interest. */
  async nothing(call: Call): Promise<void> {
    const scope = this.#open(call)
    try {
      const response = await this.#send(call, scope)
      await this.#whole(call, scope, () => response.text())
    } finally {
      scope.end()
    }
  }

  /** Calls, and answers with the body of the response as it arrives. */
  async stream(call: Call): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    return (await this.open(call)).body
  }

  /** The same, with the head of the response. */
  async open(call: Call): Promise<Opened> {
    const scope = this.#open(call)
    try {
      const { status, headers, body } = await this.#send(call, scope)
      scope.unlimited()
      return { status, headers, body: this.#follow(call, scope, body) }
    } catch (error) {
      scope.end()
      throw error
    }
  }

  /**
   * Opens a WebSocket, which cannot carry headers: the key, or another `token`, goes into its address. It says nothing of why it was refused; a plain call of the
   * same address does.
   */
  async socket(call: SocketCall): Promise<Socket> {
    const query = new URLSearchParams(call.query)
    const plain = query.size === 0 ? call.path : `${call.path}?${query}`
    query.set('token', call.token ?? this.#apiKey)
    const url = `${this.baseUrl.replace(/^http/, 'ws')}${call.path}?${query}`
    const scope = new CallScope(call.doing, call.signal, this.#life.signal)
    scope.limit(shortMs)
    try {
      return await connectSocket(this.#webSocket, url, call.doing, scope.signal)
    } catch (cause) {
      if (scope.signal.aborted) throw scope.signal.reason
      if (cause instanceof PorticoError) throw cause
      await this.#explain({ ...call, path: plain, method: 'GET', limitMs: shortMs }, call.token !== undefined)
      throw unreachable(this.baseUrl, call.doing, cause)
    } finally {
      scope.end()
    }
  }

  /** Throws why a socket of this address is refused, where a plain call of it tells. */
  async #explain(call: Call, foreign: boolean): Promise<void> {
    if (foreign) return
    const scope = this.#open(call)
    try {
      const response = await this.#send(call, scope)
      await response.body?.cancel()
    } catch (error) {
      // That it wants a socket is known.
      if (error instanceof ValidationError && ['invalid_request', 'unsupported'].includes(error.code)) return
      throw error
    } finally {
      scope.end()
    }
  }

  #open(call: Call): CallScope {
    const scope = new CallScope(call.doing, call.signal, call.detached ? undefined : this.#life.signal)
    scope.limit(call.limitMs)
    return scope
  }

  async #send(call: Call, scope: CallScope): Promise<Response> {
    const backoff = new Backoff(retries)
    for (let left: number = retries.tries; ; ) {
      try {
        return await this.#once(call, scope)
      } catch (error) {
        const waitMs = mayRepeat(call, error) ? Math.max(error.retryAfterMs ?? 0, backoff.next()) : undefined
        // The answer to a call that is under way is worth the whole limit.
        if (!(error instanceof PorticoError && error.code === 'idempotency_pending')) left--
        if (waitMs === undefined || waitMs > longestWaitMs || left === 0) throw error
        await sleep(waitMs, scope.signal, this.#clock)
      }
    }
  }

  async #once(call: Call, scope: CallScope): Promise<Response> {
    scope.signal.throwIfAborted()
    const response = await this.#whole(call, scope, () =>
      this.#fetch(this.baseUrl + call.path, this.#init(call, scope)),
    )
    if (response.ok) return response
    throw await this.#whole(call, scope, () => refused(response, call.doing))
  }

  #init(call: Call, scope: CallScope): RequestInit {
    const common = { authorization: `Bearer ${this.#apiKey}`, accept: call.accept ?? '*/*' }
    const headers: Record<string, string> = { ...call.headers, ...common }
    if (call.idempotencyKey !== undefined) headers['idempotency-key'] = call.idempotencyKey
    const init: RequestInit = { method: call.method, headers, redirect: 'manual', signal: scope.signal, ...this.#extra }
    if (call.json !== undefined) {
      headers['content-type'] = 'application/json'
      init.body = JSON.stringify(call.json)
    } else if (call.bytes !== undefined) {
      headers['content-type'] = 'application/octet-stream'
      init.body = call.bytes
      // fetch demands this word for a body that is a stream.
      if (call.bytes instanceof ReadableStream) Object.assign(init, { duplex: 'half' })
    }
    return init
  }

  /** Runs a step on the network; whatever it throws comes out as the reason of the scope's end, or as an UnavailableError. */
  async #whole<Value>(call: Call, scope: CallScope, step: () => Promise<Value>): Promise<Value> {
    try {
      // Raced, as a fetch that the program brought along may not listen to the signal.
      return await abortable(step(), scope.signal)
    } catch (cause) {
      throw scope.signal.aborted ? scope.signal.reason : unreachable(this.baseUrl, call.doing, cause)
    }
  }

  #follow(call: Call, scope: CallScope, body: Response['body']): ReadableStream<Uint8Array<ArrayBuffer>> {
    const reader = body?.getReader()
    const next = async (controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>) => {
      // The limit runs only while a chunk is being waited for: a reader may take its time.
      scope.limit(call.idleMs ?? idleMs)
      const chunk = await this.#whole(call, scope, async () => reader?.read())
      scope.unlimited()
      if (chunk === undefined || chunk.done) {
        scope.end()
        controller.close()
      } else controller.enqueue(chunk.value)
    }
    return new ReadableStream(
      {
        pull: async (controller) => {
          try {
            await next(controller)
          } catch (error) {
            scope.end()
            await reader?.cancel(error).catch(() => undefined)
            throw error
          }
        },
        cancel: async (why) => {
          scope.end()
          await reader?.cancel(why)
        },
      },
      { highWaterMark: 0 },
    )
  }
}

/** Whether the same call once more can do no harm and may do better. */
function mayRepeat(call: Call, error: unknown): error is PorticoError {
  if (!(error instanceof PorticoError)) return false
  if (error instanceof RateLimitError) return !(call.bytes instanceof ReadableStream)
  if (call.idempotencyKey !== undefined && error.code === 'idempotency_pending') return true
  return (call.repeatable === true || call.idempotencyKey !== undefined) && error instanceof UnavailableError
}

function check<Schema extends z.ZodType>(response: Response, doing: string, text: string, schema: Schema) {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw unreadable(response, doing, 'not JSON', cause)
  }
  const checked = schema.safeParse(value)
  if (checked.success) return checked.data
  const issue = checked.error.issues[0]
  const where = issue === undefined || issue.path.length === 0 ? 'it' : issue.path.join('.')
  throw unreadable(response, doing, `${where}: ${issue?.message ?? 'wrong'}`, checked.error)
}
