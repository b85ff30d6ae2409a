/** The store of a sandbox: JSON values by key. A checkpoint's restore leaves it as it is, a fork takes a copy along. */

import { storeBatch, storeDeleted, storeEntry, storeKeys, storeSet } from '@portico/shared/api'
import { shortMs } from '../limits.ts'
import type { DataPlane } from './data-plane.ts'
import { IrisError } from './errors.ts'
import type { CallOptions } from './wire.ts'

/** What JSON can say. */
export type StoreValue =
  | null
  | boolean
  | number
  | string
  | readonly StoreValue[]
  | { readonly [name: string]: StoreValue }

export interface StoreEntry {
  readonly key: string
  readonly value: StoreValue
  /** RFC 3339; null where it never expires. */
  readonly expires_at: string | null
}

export interface StoreKeys {
  readonly keys: readonly string[]
  /** There are more. */
  readonly truncated: boolean
}

export type BatchOperation =
  | { readonly op: 'set'; readonly key: string; readonly value: StoreValue; readonly ttl_seconds?: number | undefined }
  | { readonly op: 'delete'; readonly key: string }

export class Store {
  readonly #plane: DataPlane

  /** @internal Made by Sandbox alone. */
  constructor(plane: DataPlane) {
    this.#plane = plane
  }

  /** Sets or replaces; without `ttl_seconds` it never expires. */
  async set(
    key: string,
    entry: { readonly value: StoreValue; readonly ttl_seconds?: number | undefined },
    { signal }: CallOptions = {},
  ): Promise<void> {
    const call = { method: 'PUT', path: at(key), doing: `set ${key}`, limitMs: shortMs, repeatable: true } as const
    await this.#plane.json({ ...call, json: entry, signal }, storeSet)
  }

  /** The entry, or null if it is missing or has expired. */
  async get(key: string, { signal }: CallOptions = {}): Promise<StoreEntry | null> {
    const call = { method: 'GET', path: at(key), doing: `get ${key}`, limitMs: shortMs, repeatable: true } as const
    try {
      return await this.#plane.json({ ...call, signal }, storeEntry)
    } catch (error) {
      if (error instanceof IrisError && error.status === 404 && error.code !== 'sandbox_not_found') return null
      throw error
    }
  }

  /** Names of keys in the order of their bytes; `after` goes on behind the last one. 100 unless `limit` says otherwise. */
  async list(
    options: CallOptions & { readonly prefix?: string; readonly limit?: number; readonly after?: string } = {},
  ): Promise<StoreKeys> {
    const { signal, ...filters } = options
    const query = new URLSearchParams()
    for (const [name, value] of Object.entries(filters)) if (value !== undefined) query.set(name, String(value))
    const path = query.size === 0 ? '/v1/store' : `/v1/store?${query}`
    const call = { method: 'GET', path, doing: 'list the keys', limitMs: shortMs, repeatable: true, signal } as const
    return await this.#plane.json(call, storeKeys)
  }

  /** Whether there was something to delete. */
  async delete(key: string, { signal }: CallOptions = {}): Promise<{ readonly ok: true; readonly deleted: boolean }> {
    const call = { method: 'DELETE', path: at(key), doing: `delete ${key}`, limitMs: shortMs, signal } as const
    return await this.#plane.json(call, storeDeleted)
  }

  /** All of them or none; answers how many there were. */
  async batch(
    operations: readonly BatchOperation[],
    { signal }: CallOptions = {},
  ): Promise<{ readonly ok: true; readonly applied: number }> {
    const call = { method: 'POST', path: '/v1/store/batch', doing: 'change the store', limitMs: shortMs } as const
    return await this.#plane.json({ ...call, repeatable: true, json: { operations }, signal }, storeBatch)
  }
}

function at(key: string): string {
  return `/v1/store/${encodeURIComponent(key)}`
}
