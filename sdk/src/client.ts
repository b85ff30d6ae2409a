/** The client of one platform with one key: finds both, makes sandboxes, finds them again, keeps their snapshots, and tells what the account used. */

import { accountUsage, auditKey, type RunRecord, runRecord, snapshotList } from '@portico/shared/api'
import { type AccountUsage, usageOf } from './account.ts'
import { type AuditEntry, type AuditOptions, auditEntries, auditLines } from './audit.ts'
import { platformUrl, usableKey } from './connection.ts'
import { type Creation, Creations } from './creations.ts'
import { NotFoundError } from './errors.ts'
import { type HistoryItem, type HistoryOptions, history } from './history.ts'
import { type Images, imagesOf } from './images.ts'
import { createMs, saveMs, shortMs } from './limits.ts'
import { type ListOptions, list } from './list.ts'
import { type CreateOptions, createBody, type RestoreOptions, restoreBody } from './options.ts'
import { environment } from './platform.ts'
import { sandboxInfo } from './records.ts'
import { type CallOptions, destroy, Sandbox } from './sandbox.ts'
import { deleteSnapshot, type SnapshotInfo, snapshotInfo } from './snapshots.ts'
import type { WebSocketConstructor } from './socket.ts'
import { Transport } from './transport.ts'
import { Webhooks } from './webhooks.ts'

/** Where the platform is and who calls. */
export interface PorticoOptions {
  /** The environment variable PORTICO_API_KEY unless told. */
  readonly apiKey?: string | undefined
  /** Such as `http://127.0.0.1:8787`; the environment variable PORTICO_URL unless told. */
  readonly baseUrl?: string | undefined
  /** Another `fetch` than the runtime's. */
  readonly fetch?: typeof fetch | undefined
  /** Another `WebSocket` than the runtime's; Node 20 has none, and there that of the package `ws` will do. */
  readonly webSocket?: WebSocketConstructor | undefined
}

export class Portico {
  readonly #transport: Transport
  readonly #creations: Creations
  readonly #webhooks: Webhooks
  readonly #images: Images

  constructor(options: PorticoOptions = {}) {
    const baseUrl = platformUrl(options.baseUrl ?? environment('PORTICO_URL'), 'baseUrl to Portico')
    const apiKey = usableKey(
      options.apiKey ?? environment('PORTICO_API_KEY'),
      'API key',
      'PORTICO_API_KEY',
      'apiKey to Portico',
    )
    this.#transport = new Transport({ baseUrl, apiKey, fetch: options.fetch, webSocket: options.webSocket })
    this.#creations = new Creations(this.#transport)
    this.#webhooks = new Webhooks(this.#transport)
    this.#images = imagesOf(this.#transport, this.#creations)
  }

  /** The platform's address, without a slash at its end. */
  get baseUrl(): string {
    return this.#transport.baseUrl
  }

  /**
   * Makes a sandbox and waits until it runs. If the signal ends the call, what comes of it is destroyed in the background; `close()` waits for that.
   * With an `idempotencyKey` of yours it stays: the same call with the same key answers with it.
   */
  async create(options: CreateOptions = {}): Promise<Sandbox> {
    const { signal, idempotencyKey, ...spec } = options
    const call = { path: '/v1/runs', doing: 'create a sandbox', limitMs: createMs, json: createBody(spec) }
    return await this.#make({ ...call, idempotencyKey, signal })
  }

  /** Makes a sandbox that goes on from a snapshot, however often. The sandbox that the snapshot was taken of need not exist any more. Otherwise as `create`. */
  async restore(snapshotId: string, options: RestoreOptions = {}): Promise<Sandbox> {
    const { signal, idempotencyKey, ...spec } = options
    const json = restoreBody(snapshotId, spec)
    const call = { path: '/v1/runs/restore', doing: 'restore the snapshot', limitMs: saveMs, json }
    return await this.#make({ ...call, idempotencyKey, signal })
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

  /** The sandboxes that exist and fit, newest first, in as many calls as it takes. */
  async list(options: ListOptions = {}): Promise<Sandbox[]> {
    return (await list(this.#transport, options)).map((record) => this.#sandbox(record))
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

  /** Called, it tells the names of the images that the key's region can boot now; `images.pull`, `images.build` and the rest are about the account's own. */
  get images(): Images {
    return this.#images
  }

  /** What the account has used and what that costs, over all regions. */
  async usage(options: CallOptions = {}): Promise<AccountUsage> {
    const call = { method: 'GET', path: '/v1/usage', doing: 'look up the usage', limitMs: shortMs } as const
    return usageOf(await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, accountUsage))
  }

  /** The sandboxes that are over, newest first by their end. Asks for more as you read on. */
  history(options: HistoryOptions = {}): AsyncIterable<HistoryItem> {
    return history(this.#transport, options)
  }

  /** What was done to a sandbox and in it, one entry after the other; also of one that is over, for 30 days. */
  audit(sandboxId: string, options: AuditOptions = {}): AsyncIterable<AuditEntry> {
    return auditEntries(this.#transport, sandboxId, options)
  }

  /** The same as lines of JSON, as `verifyAudit` takes them. */
  auditLines(sandboxId: string, options: AuditOptions = {}): AsyncIterable<string> {
    return auditLines(this.#transport, sandboxId, options)
  }

  /** The key, in hex, that the audit entries of the account are verified with. */
  async auditKey(options: CallOptions = {}): Promise<string> {
    const call = { method: 'GET', path: '/v1/audit/key', doing: 'look up the audit key', limitMs: shortMs } as const
    return (await this.#transport.json({ ...call, repeatable: true, signal: options.signal }, auditKey)).key
  }

  /** Who is told of what happens to the account's sandboxes. */
  get webhooks(): Webhooks {
    return this.#webhooks
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
