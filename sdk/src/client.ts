/** The client of one platform with one key: finds both, makes sandboxes and finds them again. */

import { imageList, runList, runRecord } from '@portico/shared/api'
import { abortable } from '@portico/shared/dispose'
import { CallScope } from './call-scope.ts'
import { AuthenticationError, NotFoundError, ValidationError } from './errors.ts'
import { createMs, shortMs } from './limits.ts'
import { environment } from './platform.ts'
import { sandboxInfo } from './records.ts'
import { type CallOptions, destroy, Sandbox } from './sandbox.ts'
import { Transport } from './transport.ts'

/** Where the platform is and who calls. */
export interface PorticoOptions {
  /** The environment variable PORTICO_API_KEY unless told. */
  readonly apiKey?: string | undefined
  /** Such as `http://127.0.0.1:8787`; the environment variable PORTICO_URL unless told. */
  readonly baseUrl?: string | undefined
  /** Another `fetch` than the runtime's. */
  readonly fetch?: typeof fetch | undefined
}

/** What to create. The platform fills in what is left out. */
export interface CreateOptions extends CallOptions {
  /** Such as `python` or `node:22-slim`. */
  readonly image?: string | undefined
  readonly vcpus?: number | undefined
  readonly memMiB?: number | undefined
  readonly diskMiB?: number | undefined
  /** Seconds without activity after which the sandbox is destroyed; 0 is never. */
  readonly timeoutSec?: number | undefined
  /** Variables of every command in it. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** What the sandbox may reach. The platform refuses a policy that it cannot keep. */
  readonly network?: { readonly allow?: readonly string[]; readonly deny?: readonly string[] } | undefined
  readonly networkProfile?: string | undefined
}

export class Portico {
  readonly #transport: Transport
  /** Sandboxes whose creation nobody waits for any more: they are destroyed as soon as they exist. */
  readonly #unwanted = new Set<Promise<void>>()

  constructor(options: PorticoOptions = {}) {
    const baseUrl = platformUrl(options.baseUrl ?? environment('PORTICO_URL'))
    const apiKey = usableKey(options.apiKey ?? environment('PORTICO_API_KEY'))
    this.#transport = new Transport({ baseUrl, apiKey, fetch: options.fetch })
  }

  /** The platform's address, without a slash at its end. */
  get baseUrl(): string {
    return this.#transport.baseUrl
  }

  /**
   * Boots a sandbox and waits until it runs. Never repeated by itself. If the signal ends the call, what comes of it is destroyed in the background;
   * `close()` waits for that.
   */
  async create(options: CreateOptions = {}): Promise<Sandbox> {
    const { signal, ...spec } = options
    const json = createBody(spec)
    const scope = new CallScope('create a sandbox', signal, this.#transport.closed)
    try {
      scope.signal.throwIfAborted()
      const call = { method: 'POST', path: '/v1/runs', doing: 'create a sandbox', limitMs: createMs } as const
      const creating = this.#transport.json({ ...call, json, detached: true }, runRecord)
      const waiting = abortable(creating, scope.signal)
      scope.signal.addEventListener('abort', () => this.#discard(creating, waiting))
      return new Sandbox(this.#transport, sandboxInfo(await waiting))
    } finally {
      scope.end()
    }
  }

  /** The sandbox with this id, or null if there is none (any more). */
  async get(id: string, options: CallOptions = {}): Promise<Sandbox | null> {
    if (!/^[\w-]+$/.test(id)) return null
    const call = { method: 'GET', path: `/v1/runs/${id}`, doing: 'look up the sandbox', limitMs: shortMs } as const
    try {
      const record = await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, runRecord)
      return new Sandbox(this.#transport, sandboxInfo(record))
    } catch (error) {
      if (error instanceof NotFoundError) return null
      throw error
    }
  }

  /** The sandboxes that exist, newest first. */
  async list(options: CallOptions = {}): Promise<Sandbox[]> {
    const call = { method: 'GET', path: '/v1/runs', doing: 'list the sandboxes', limitMs: shortMs } as const
    const { runs } = await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, runList)
    return runs.map((record) => new Sandbox(this.#transport, sandboxInfo(record)))
  }

  /** The names of the images that the key's region can boot now. */
  async images(options: CallOptions = {}): Promise<string[]> {
    const call = { method: 'GET', path: '/v1/images', doing: 'list the images', limitMs: shortMs } as const
    const { images } = await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, imageList)
    return images
  }

  /** Ends the calls under way and refuses new ones. Sandboxes stay, except those whose creation was ended: their destruction is waited for. */
  async close(): Promise<void> {
    this.#transport.close()
    await Promise.all(this.#unwanted)
  }

  /** `await using` closes the client at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Once nobody waits for a creation any more, destroys what comes of it. */
  #discard(creating: Promise<{ id: string }>, waiting: Promise<unknown>): void {
    const gone = waiting
      .catch(async () => await destroy(this.#transport, (await creating).id, undefined, true))
      // Nobody is left to tell. A sandbox that this could not destroy ends by its own timeout.
      .then(
        () => undefined,
        () => undefined,
      )
      .finally(() => this.#unwanted.delete(gone))
    this.#unwanted.add(gone)
  }
}

/** The options that the wire knows, by their name there. */
const wireNames = {
  image: 'image',
  vcpus: 'vcpus',
  memMiB: 'mem_mib',
  diskMiB: 'disk_mib',
  timeoutSec: 'timeout',
  env: 'env',
  network: 'network',
  networkProfile: 'network_profile',
} as const satisfies Record<keyof Omit<CreateOptions, 'signal'>, string>

/** Refuses options it does not know: a policy with a slip in its name may not be dropped in silence. */
function createBody(spec: Omit<CreateOptions, 'signal'>): Record<string, unknown> {
  const body: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(spec)) {
    if (!Object.hasOwn(wireNames, name)) {
      const hint = `Options are ${Object.keys(wireNames).join(', ')} and signal.`
      throw invalid(`cannot create a sandbox: there is no option ${name}`, hint)
    }
    body[wireNames[name as keyof typeof wireNames]] = value
  }
  return body
}

function platformUrl(text: string | undefined): string {
  if (text === undefined)
    throw invalid('cannot find the platform: no URL is given', 'Set PORTICO_URL, or pass baseUrl to Portico.')
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
    throw invalid(`cannot use the URL ${text}`, 'It looks like https://portico.example or http://127.0.0.1:8787.')
  if (url.username !== '' || url.password !== '')
    throw invalid('cannot use a URL with a user name in it', 'The key goes in PORTICO_API_KEY or apiKey.')
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

function usableKey(text: string | undefined): string {
  if (text !== undefined && /^[\x21-\x7e]+$/.test(text)) return text
  const what = text === undefined ? 'no API key is given' : 'the API key has characters that no key has'
  throw new AuthenticationError({
    code: 'unauthorized',
    message: `cannot use the platform: ${what}`,
    status: 0,
    retryable: false,
    hint: 'Set PORTICO_API_KEY, or pass apiKey to Portico.',
  })
}

function invalid(message: string, hint: string): ValidationError {
  return new ValidationError({ code: 'invalid_request', message, status: 0, retryable: false, hint })
}
