/** Keys of the platform that the tokens of sandboxes' own hosts are signed with. */

import { signingKeyList, type SigningKey as Wire } from '@portico/shared/api'
import { date } from './admin-keys.ts'
import { shortMs } from './limits.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

/** A key, without its private half, which nobody is told. */
export interface SigningKey {
  readonly id: string
  /** The newest one signs; a retired one is published until its last token has ended. */
  readonly status: 'signing' | 'retired'
  readonly createdAt: Date
  /** When another took its place. */
  readonly retiredAt: Date | null
  /** When its last token so far has ended; null if it never signed one. */
  readonly lastTokenEndsAt: Date | null
}

export class AdminSigningKeys {
  readonly #transport: Transport

  /** @internal Made by PorticoAdmin alone. */
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Newest first. Before the first token there is none. */
  async list({ signal }: CallOptions = {}): Promise<SigningKey[]> {
    const path = '/admin/signing-keys'
    const call = { method: 'GET', path, doing: 'list the signing keys', limitMs: shortMs } as const
    return (await this.#transport.json({ ...call, repeatable: true, signal }, signingKeyList)).keys.map(signingKey)
  }

  /** Has a new key sign from now on; tokens of the former are good until they end. Never repeated by itself. Answers with all, newest first. */
  async rotate({ signal }: CallOptions = {}): Promise<SigningKey[]> {
    const path = '/admin/signing-keys/rotate'
    const call = { method: 'POST', path, doing: 'rotate the signing keys', limitMs: shortMs } as const
    return (await this.#transport.json({ ...call, signal }, signingKeyList)).keys.map(signingKey)
  }
}

function signingKey({ id, status, created_at, retired_at, last_token_ends_at }: Wire): SigningKey {
  return {
    id,
    status,
    createdAt: new Date(created_at),
    retiredAt: date(retired_at),
    lastTokenEndsAt: date(last_token_ends_at),
  }
}
