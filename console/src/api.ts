/**
 * Calls of the API with one key. A failure is one line for the reader, with its hint; nothing is tried again here, as whoever asks knows better.
 * Answers are taken as the contract types them: they come from the host that served this page.
 */

import type { ErrorBody } from '@portico/shared/api'

/** Why a call failed, fit to be shown. */
export class ApiFailure extends Error {
  override readonly name = 'ApiFailure'
  readonly status: number
  readonly code: string
  readonly hint: string | undefined
  readonly requestId: string | undefined

  constructor(status: number, body: Partial<ErrorBody>) {
    super(body.error ?? `cannot finish the request: the server answered ${status}`)
    this.status = status
    this.code = body.code ?? 'internal'
    this.hint = body.hint
    this.requestId = body.request_id
  }
}

export interface Ask {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'HEAD'
  readonly json?: unknown
  readonly query?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

const limitMs = 120_000

export class Api {
  readonly #key: string
  readonly #fetch: typeof fetch
  /** Called when the platform no longer takes the key. */
  readonly #onRefused: () => void

  constructor(key: string, onRefused: () => void = () => undefined, call: typeof fetch = (...args) => fetch(...args)) {
    this.#key = key
    this.#onRefused = onRefused
    this.#fetch = call
  }

  /** What a WebSocket carries in its query, as a browser sends it no headers. */
  get token(): string {
    return this.#key
  }

  async json<Answer>(path: string, ask: Ask = {}): Promise<Answer> {
    return (await (await this.call(path, ask)).json()) as Answer
  }

  /** Any call; throws `ApiFailure` unless it succeeded. */
  async call(path: string, { method = 'GET', json, query, signal }: Ask = {}): Promise<Response> {
    const limit = AbortSignal.timeout(limitMs)
    const response = await this.#fetch(query === undefined ? path : `${path}?${new URLSearchParams(query)}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#key}`,
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    }).catch((error: unknown) => {
      if (signal?.aborted) throw error
      throw unreached()
    })
    if (response.ok) return response
    if (response.status === 401) this.#onRefused()
    throw failure(response.status, await response.text().catch(() => ''))
  }

  /** Sends a file; `onProgress` is told how many bytes are gone. */
  upload(path: string, file: Blob, onProgress: (sent: number) => void, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest()
      const abort = () => request.abort()
      request.open('POST', path)
      request.setRequestHeader('authorization', `Bearer ${this.#key}`)
      request.upload.onprogress = ({ loaded }) => onProgress(loaded)
      request.onload = () => (request.status < 300 ? resolve() : reject(failure(request.status, request.responseText)))
      request.onerror = () => reject(unreached())
      request.onabort = () => reject(new DOMException('cancelled', 'AbortError'))
      request.onloadend = () => signal.removeEventListener('abort', abort)
      signal.addEventListener('abort', abort)
      request.send(file)
    })
  }
}

/** Path of something of a sandbox. */
export function ofRun(run: string, ...more: readonly string[]): string {
  return ['/v1/runs', ...[run, ...more].map(encodeURIComponent)].join('/')
}

/** What went wrong, from any thrown value. */
export function toFailure(thrown: unknown): ApiFailure {
  if (thrown instanceof ApiFailure) return thrown
  const why = thrown instanceof Error ? thrown.message : String(thrown)
  return new ApiFailure(0, { error: `cannot finish: ${why}`, code: 'internal' })
}

function failure(status: number, text: string): ApiFailure {
  try {
    const body: unknown = JSON.parse(text)
    return new ApiFailure(status, typeof body === 'object' && body !== null ? body : {})
  } catch {
    return new ApiFailure(status, {})
  }
}

function unreached(): ApiFailure {
  return new ApiFailure(0, {
    error: 'cannot reach the platform',
    code: 'unreached',
    hint: 'Check the connection and try again.',
  })
}
