/** API keys of accounts. */

import { adminKey, adminKeyList, adminKeyMade, type AdminKey as Wire } from '@portico/shared/api'
import { shortMs } from './limits.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

/** `full` may all, `read-only` looks, `exec-only` looks and works inside sandboxes that exist. */
export type KeyScope = 'full' | 'read-only' | 'exec-only'

export interface KeyOptions extends CallOptions {
  /** What it makes is made there. */
  readonly region: string
  readonly name?: string | undefined
  /** `full` unless told. */
  readonly scope?: KeyScope | undefined
  /** How long it is good for; without end unless told. */
  readonly expiresInSec?: number | undefined
}

export interface KeyInfo {
  readonly id: string
  readonly region: string
  readonly name: string
  readonly scope: KeyScope
  readonly createdAt: Date
  readonly expiresAt: Date | null
  /** To the minute. */
  readonly lastUsedAt: Date | null
  readonly revokedAt: Date | null
}

/** A key that was just made: the only time that it is told. */
export interface NewKey extends KeyInfo {
  readonly key: string
}

export class AdminKeys {
  readonly #transport: Transport

  /** @internal Made by PorticoAdmin alone. */
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Never repeated by itself: each call makes another key. */
  async create(account: string, options: KeyOptions): Promise<NewKey> {
    const { region, name, scope, expiresInSec, signal } = options
    const json = { region, name, scope, expires_in: expiresInSec }
    const call = { method: 'POST', path: pathOf(account), doing: 'create the key', limitMs: shortMs } as const
    const { key, ...made } = await this.#transport.json({ ...call, json, signal }, adminKeyMade)
    return { ...keyInfo(made), key }
  }

  /** Also those that are revoked or have expired. */
  async list(account: string, { signal }: CallOptions = {}): Promise<KeyInfo[]> {
    const call = { method: 'GET', path: pathOf(account), doing: 'list the keys', limitMs: shortMs } as const
    const { keys } = await this.#transport.json({ ...call, repeatable: true, signal }, adminKeyList)
    return keys.map(keyInfo)
  }

  /** Ends a key, by its id. Where it was just used it may work for a short time yet. */
  async revoke(account: string, id: string, { signal }: CallOptions = {}): Promise<KeyInfo> {
    const path = `${pathOf(account)}/${encodeURIComponent(id)}`
    const call = { method: 'DELETE', path, doing: 'revoke the key', limitMs: shortMs } as const
    return keyInfo(await this.#transport.json({ ...call, repeatable: true, signal }, adminKey))
  }
}

function pathOf(account: string): string {
  return `/admin/accounts/${encodeURIComponent(account)}/keys`
}

function keyInfo(wire: Wire): KeyInfo {
  return {
    id: wire.id,
    region: wire.region,
    name: wire.name,
    scope: wire.scope,
    createdAt: new Date(wire.created_at),
    expiresAt: date(wire.expires_at),
    lastUsedAt: date(wire.last_used_at),
    revokedAt: date(wire.revoked_at),
  }
}

/** @internal */
export function date(text: string | null): Date | null {
  return text === null ? null : new Date(text)
}
