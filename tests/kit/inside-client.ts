/** The inside of one sandbox over plain HTTP with a key: files, services, checkpoints, store. What is refused rejects with its code. */

import type { Platform } from '@portico/deploy/local'
import type {
  CheckpointCreated,
  CheckpointList,
  CheckpointReady,
  CheckpointRestored,
  FileEntry,
  FileStat,
  FileTree,
  InSandboxExecResponse,
  ServiceRecord,
  ServiceRequest,
  StoreBatchRequest,
  StoreEntry,
  StoreKeys,
  WatchEvent,
} from '@portico/shared/api'

/** What the API said when it refused. */
export class Refused extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(`${status} ${code}: ${message}`)
    this.status = status
    this.code = code
  }
}

export class InsideClient {
  readonly id: string
  readonly #platform: Pick<Platform, 'url' | 'apiKey'>

  constructor(platform: Pick<Platform, 'url' | 'apiKey'>, id: string) {
    this.#platform = platform
    this.id = id
  }

  /** One call below `/v1/runs/{id}`; resolves with the answer whatever its status. */
  open(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    headers.set('authorization', `Bearer ${this.#platform.apiKey}`)
    return fetch(`${this.#platform.url}/v1/runs/${this.id}${path}`, { ...init, method, headers })
  }

  /** The same with a body and an answer in JSON. */
  async ask<Answer>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Answer> {
    const sent =
      body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    const answer = await this.open(method, path, { ...sent, ...(signal === undefined ? {} : { signal }) })
    const text = await answer.text()
    if (answer.ok) return JSON.parse(text) as Answer
    throw refusal(answer.status, text)
  }

  /** Runs a shell line; one that fails is an error. */
  async shell(command: string, timeout = 300): Promise<string> {
    const found = await this.ask<{ exit_code: number; stdout: string; stderr: string }>('POST', '/exec', {
      command,
      timeout,
    })
    if (found.exit_code !== 0)
      throw new Error(
        `${command} ended with ${found.exit_code}: ${found.stderr.slice(-2000)}${found.stdout.slice(-500)}`,
      )
    return found.stdout
  }

  readonly files = {
    list: (path: string, query = ''): Promise<FileTree> => this.ask('GET', `/files/list?${named(path)}${query}`),
    stat: (path: string): Promise<FileStat> => this.ask('GET', `/files/stat?${named(path)}`),
    exists: async (path: string): Promise<boolean> =>
      (await this.ask<{ exists: boolean }>('GET', `/files/exists?${named(path)}`)).exists,
    write: (path: string | Uint8Array, bytes: string | Uint8Array, query = ''): Promise<{ size: number }> =>
      this.#done(this.open('POST', `/files/upload?${named(path)}${query}`, { body: bytes as BodyInit })),
    read: async (path: string | Uint8Array): Promise<string> => {
      const answer = await this.open('GET', `/files/download?${named(path)}`)
      if (!answer.ok) throw refusal(answer.status, await answer.text())
      return await answer.text()
    },
    remove: (path: string | Uint8Array, query = ''): Promise<unknown> =>
      this.ask('DELETE', `/files?${named(path)}${query}`),
    /** `mkdir`, `move`, `copy`, `chmod`, `chown` or `search`. */
    post: <Answer = { ok: true; path: string }>(what: string, body: object): Promise<Answer> =>
      this.ask('POST', `/files/${what}`, body),
  }

  readonly services = {
    list: (): Promise<ServiceRecord[]> => this.ask('GET', '/services'),
    upsert: (name: string, definition: ServiceRequest): Promise<ServiceRecord> =>
      this.ask('PUT', `/services/${name}`, definition),
    get: (name: string): Promise<ServiceRecord> => this.ask('GET', `/services/${name}`),
    start: (name: string): Promise<ServiceRecord> => this.ask('POST', `/services/${name}/start`),
    stop: (name: string): Promise<ServiceRecord> => this.ask('POST', `/services/${name}/stop`),
    delete: (name: string): Promise<unknown> => this.ask('DELETE', `/services/${name}`),
    exec: (name: string, cmd: readonly string[], timeoutSeconds = 60): Promise<InSandboxExecResponse> =>
      this.ask('POST', `/services/${name}/exec`, { cmd, timeout_secs: timeoutSeconds }),
  }

  readonly checkpoints = {
    create: (name = '', wait = false): Promise<CheckpointCreated> => this.ask('POST', '/checkpoints', { name, wait }),
    list: async () => (await this.ask<CheckpointList>('GET', '/checkpoints')).checkpoints,
    wait: (id: string): Promise<CheckpointReady> => this.ask('POST', '/checkpoints/wait', { checkpoint_id: id }),
    restore: (id: string): Promise<CheckpointRestored> => this.ask('POST', `/checkpoints/${id}/restore`),
    delete: (id: string): Promise<unknown> => this.ask('DELETE', `/checkpoints/${id}`),
  }

  readonly store = {
    set: (key: string, value: unknown, ttl?: number): Promise<unknown> =>
      this.ask('PUT', `/store/${encodeURIComponent(key)}`, ttl === undefined ? { value } : { value, ttl_seconds: ttl }),
    get: (key: string): Promise<StoreEntry> => this.ask('GET', `/store/${encodeURIComponent(key)}`),
    list: (query = ''): Promise<StoreKeys> => this.ask('GET', `/store?${query}`),
    delete: (key: string): Promise<{ deleted: boolean }> => this.ask('DELETE', `/store/${encodeURIComponent(key)}`),
    batch: (
      operations: StoreBatchRequest['operations'],
      signal?: AbortSignal,
    ): Promise<{ ok: true; applied: number }> => this.ask('POST', '/store/batch', { operations }, signal),
  }

  async #done<Answer>(answered: Promise<Response>): Promise<Answer> {
    const answer = await answered
    const text = await answer.text()
    if (answer.ok) return JSON.parse(text) as Answer
    throw refusal(answer.status, text)
  }
}

/** A path for a query; one that is not UTF-8 is given as its bytes. */
export function named(path: string | Uint8Array): string {
  return typeof path === 'string'
    ? `path=${encodeURIComponent(path)}`
    : `path_base64=${encodeURIComponent(Buffer.from(path).toString('base64'))}`
}

function refusal(status: number, text: string): Refused {
  try {
    const { error, code } = JSON.parse(text) as { error: string; code: string }
    return new Refused(status, code, error)
  } catch {
    return new Refused(status, 'unknown', text)
  }
}

/** Entries of a listing by name. */
export function namesOf(entries: readonly FileEntry[]): string[] {
  return entries.map(({ name }) => name).sort()
}

/** What happens below a path, until it is closed: `seen` grows by itself, and holds no heartbeats. */
export class Watching implements Disposable {
  readonly seen: WatchEvent[] = []
  readonly #over = new AbortController()
  #told: () => void = () => undefined
  #failure: unknown

  /** Resolves once changes from now on are told. */
  static async open(client: InsideClient, path: string, recursive: boolean): Promise<Watching> {
    const watching = new Watching()
    const answer = await client.open('GET', `/files/watch?${named(path)}&recursive=${recursive}`, {
      signal: watching.#over.signal,
    })
    if (!answer.ok || answer.body === null) throw refusal(answer.status, await answer.text())
    void watching.#read(answer.body)
    await watching.until((seen) => seen.some(({ type }) => type === 'ready'), 30_000)
    return watching
  }

  /** Waits until what was seen is enough. */
  async until(enough: (seen: readonly WatchEvent[]) => boolean, limitMs: number): Promise<void> {
    const limit = AbortSignal.timeout(limitMs)
    while (!enough(this.seen)) {
      if (this.#failure !== undefined) throw this.#failure
      await new Promise<void>((resolve, reject) => {
        this.#told = resolve
        limit.addEventListener('abort', () =>
          reject(
            new Error(
              `not seen within ${limitMs} ms; the last of ${this.seen.length}: ${JSON.stringify(this.seen.slice(-5))}`,
            ),
          ),
        )
        if (limit.aborted) reject(new Error(`not seen within ${limitMs} ms`))
      })
    }
  }

  [Symbol.dispose](): void {
    this.#over.abort()
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    let text = ''
    try {
      for await (const bytes of body) {
        text += decoder.decode(bytes, { stream: true })
        const lines = text.split('\n')
        text = lines.pop() ?? ''
        for (const line of lines) {
          if (!line.startsWith('data:')) continue
          const event = JSON.parse(line.slice(5)) as WatchEvent
          if (event.type !== 'heartbeat') this.seen.push(event)
        }
        this.#told()
      }
      this.#failure = new Error('the watch ended')
    } catch (error) {
      if (!this.#over.signal.aborted) this.#failure = error
    }
    this.#told()
  }
}
