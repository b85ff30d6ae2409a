/** The store of a sandbox: JSON values by key, in its record at the platform. It is at hand while the sandbox sleeps, and gone with it. */

import { storeBatch, storeDeleted, storeEntry, storeKeys, storeSet } from '@portico/shared/api'
import { NotFoundError } from './errors.ts'
import { shortMs } from './limits.ts'
import { invalid } from './options.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

/** What JSON can say. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue | undefined }

export interface StoreSetOptions extends CallOptions {
  /** Seconds after which the value is gone; without, it stays. */
  readonly ttl?: number | undefined
}

/** A value. */
export interface StoreEntry {
  readonly value: JsonValue
  /** null: it stays. */
  readonly expiresAt: Date | null
}

export interface StoreListOptions extends CallOptions {
  /** Only keys that begin so. */
  readonly prefix?: string | undefined
  /** 100 unless told. */
  readonly limit?: number | undefined
  /** Only keys behind this one: the last of a page leads to the next. */
  readonly after?: string | undefined
}

/** A page of keys, in the order of their bytes. */
export interface StoreKeys {
  readonly keys: readonly string[]
  /** There are more. */
  readonly truncated: boolean
}

/** A part of a batch. */
export type StoreOperation =
  | { readonly op: 'set'; readonly key: string; readonly value: JsonValue; readonly ttl?: number | undefined }
  | { readonly op: 'delete'; readonly key: string }

export class SandboxStore {
  readonly #transport: Transport
  readonly #path: string

  /** @internal Made by Sandbox alone. */
  constructor(transport: Transport, sandboxPath: string) {
    this.#transport = transport
    this.#path = `${sandboxPath}/store`
  }

  /** Keeps a value under a key, in place of what was there. */
  async set(key: string, value: JsonValue, { ttl, signal }: StoreSetOptions = {}): Promise<void> {
    const call = { method: 'PUT', path: this.#of(key), doing: `set ${key}`, limitMs: shortMs } as const
    await this.#transport.json({ ...call, json: { value, ttl_seconds: ttl }, repeatable: true, signal }, storeSet)
  }

  /** The value of a key, or null where there is none (any more). */
  async get(key: string, { signal }: CallOptions = {}): Promise<StoreEntry | null> {
    const call = { method: 'GET', path: this.#of(key), doing: `get ${key}`, limitMs: shortMs } as const
    try {
      const { value, expires_at } = await this.#transport.json({ ...call, repeatable: true, signal }, storeEntry)
      return { value, expiresAt: expires_at === null ? null : new Date(expires_at) }
    } catch (error) {
      if (error instanceof NotFoundError && error.code === 'not_found') return null
      throw error
    }
  }

  /** The names of what there is, a page at a time. */
  async list({ prefix, limit, after, signal }: StoreListOptions = {}): Promise<StoreKeys> {
    const query = new URLSearchParams()
    if (prefix !== undefined) query.set('prefix', prefix)
    if (limit !== undefined) query.set('limit', String(limit))
    if (after !== undefined) query.set('after', after)
    const path = query.size === 0 ? this.#path : `${this.#path}?${query}`
    const call = { method: 'GET', path, doing: 'list the store', limitMs: shortMs } as const
    return await this.#transport.json({ ...call, repeatable: true, signal }, storeKeys)
  }

  /** Deletes a key; answers whether there was one. Not repeated by itself, as the answer would be another. */
  async delete(key: string, { signal }: CallOptions = {}): Promise<boolean> {
    const call = { method: 'DELETE', path: this.#of(key), doing: `delete ${key}`, limitMs: shortMs } as const
    return (await this.#transport.json({ ...call, signal }, storeDeleted)).deleted
  }

  /** Does all of it in its order, or nothing; answers with how many operations were done. At most 1,000. */
  async batch(operations: readonly StoreOperation[], { signal }: CallOptions = {}): Promise<number> {
    const call = { method: 'POST', path: `${this.#path}/batch`, doing: 'change the store', limitMs: shortMs } as const
    const json = { operations: operations.map(wire) }
    return (await this.#transport.json({ ...call, json, signal }, storeBatch)).applied
  }

  #of(key: string): string {
    // No URL can name them: they would lead to the folder above.
    if (key === '' || key === '.' || key === '..')
      throw invalid(`cannot use the key ${JSON.stringify(key)}`, 'A key is neither empty nor made of one or two dots.')
    return `${this.#path}/${encodeURIComponent(key)}`
  }
}

function wire(operation: StoreOperation): object {
  if (operation.op === 'delete') return operation
  const { ttl, ...rest } = operation
  return { ...rest, ttl_seconds: ttl }
}
