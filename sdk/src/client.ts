/** The client of one platform with one key: finds both, makes sandboxes, finds them again, and keeps their snapshots. */

import { imageList, type RunRecord, runList, runRecord, snapshotList } from '@portico/shared/api'
import { type Creation, Creations } from './creations.ts'
import { AuthenticationError, NotFoundError } from './errors.ts'
import { createMs, saveMs, shortMs } from './limits.ts'
import { type CreateOptions, createBody, invalid, type RestoreOptions, restoreBody } from './options.ts'
import { environment } from './platform.ts'
import { sandboxInfo } from './records.ts'
import { type CallOptions, destroy, Sandbox } from './sandbox.ts'
import { deleteSnapshot, type SnapshotInfo, snapshotInfo } from './snapshots.ts'
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

export class Portico {
  readonly #transport: Transport
  readonly #creations: Creations

  constructor(options: PorticoOptions = {}) {
    const baseUrl = platformUrl(options.baseUrl ?? environment('PORTICO_URL'))
    const apiKey = usableKey(options.apiKey ?? environment('PORTICO_API_KEY'))
    this.#transport = new Transport({ baseUrl, apiKey, fetch: options.fetch })
    this.#creations = new Creations(this.#transport)
  }

  /** The platform's address, without a slash at its end. */
  get baseUrl(): string {
    return this.#transport.baseUrl
  }

  /**
   * Makes a sandbox and waits until it runs. Never repeated by itself. If the signal ends the call, what comes of it is destroyed in the background;
   * `close()` waits for that.
   */
  async create(options: CreateOptions = {}): Promise<Sandbox> {
    const { signal, ...spec } = options
    const json = createBody(spec)
    return await this.#make({ path: '/v1/runs', doing: 'create a sandbox', limitMs: createMs, json, signal })
  }

  /** Makes a sandbox that goes on from a snapshot, however often. The sandbox that the snapshot was taken of need not exist any more. Otherwise as `create`. */
  async restore(snapshotId: string, options: RestoreOptions = {}): Promise<Sandbox> {
    const { signal, ...spec } = options
    const json = restoreBody(snapshotId, spec)
    return await this.#make({ path: '/v1/runs/restore', doing: 'restore the snapshot', limitMs: saveMs, json, signal })
  }

  /** The sandbox with this id, or null if there is none (any more). */
  async get(id: string, options: CallOptions = {}): Promise<Sandbox | null> {
    if (!/^[\w-]+$/.test(id)) return null
    const call = { method: 'GET', path: `/v1/runs/${id}`, doing: 'look up the sandbox', limitMs: shortMs } as const
    try {
      const record = await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, runRecord)
      return this.#sandbox(record)
    } catch (error) {
      if (error instanceof NotFoundError) return null
      throw error
    }
  }

  /** The sandboxes that exist, newest first. */
  async list(options: CallOptions = {}): Promise<Sandbox[]> {
    const call = { method: 'GET', path: '/v1/runs', doing: 'list the sandboxes', limitMs: shortMs } as const
    const { runs } = await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, runList)
    return runs.map((record) => this.#sandbox(record))
  }

  /** The snapshots that exist, newest first. */
  async snapshots(options: CallOptions = {}): Promise<SnapshotInfo[]> {
    const call = { method: 'GET', path: '/v1/snapshots', doing: 'list the snapshots', limitMs: shortMs } as const
    const { snapshots } = await this.#transport.json(
      { ...call, repeatable: true, signal: options.signal },
      snapshotList,
    )
    return snapshots.map((record) => snapshotInfo(record.id, record))
  }

  /** Deletes a snapshot. Sandboxes that were restored from it stay. A NotFoundError says that it was gone already. */
  async deleteSnapshot(id: string, options: CallOptions = {}): Promise<void> {
    await deleteSnapshot(this.#transport, id, options.signal)
  }

  /** The names of the images that the key's region can boot now. */
  async images(options: CallOptions = {}): Promise<string[]> {
    const call = { method: 'GET', path: '/v1/images', doing: 'list the images', limitMs: shortMs } as const
    const { images } = await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, imageList)
    return images
  }

  /** Ends the calls under way and refuses new ones. Sandboxes stay; what came of creations that were ended is waited for until it is undone. */
  async close(): Promise<void> {
    this.#transport.close()
    await this.#creations.settled()
  }

  /** `await using` closes the client at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #make(call: Omit<Creation, 'method'>): Promise<Sandbox> {
    const undo = ({ id }: RunRecord) => destroy(this.#transport, id, undefined, true)
    return this.#sandbox(await this.#creations.make({ ...call, method: 'POST' }, runRecord, undo))
  }

  #sandbox(record: RunRecord): Sandbox {
    return new Sandbox(this.#transport, this.#creations, sandboxInfo(record))
  }
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
