/** The platform's signing keys, in one object: what it stores and when it looks again. The keys themselves are the business of `iris/keyring.ts`. */

import { DurableObject } from 'cloudflare:workers'
import type { SigningKey } from '@portico/shared/api'
import { systemClock } from '@portico/shared/clock'
import { acceptedSecrets, type Env } from '../env.ts'
import { Keyring } from '../iris/keyring.ts'
import { type Outcome, outcome } from '../outcome.ts'
import type { KeyringPort, PublicSigningKey, SignedToken, TokenSubject } from '../ports.ts'
import { keyringSchema, migrate } from '../store/migrations.ts'
import { SigningKeyTable } from '../store/signing-keys.ts'
import { inBackground } from './background.ts'

export class KeyringObject extends DurableObject<Env> implements KeyringPort {
  readonly #keyring: Keyring

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    migrate(ctx.storage, keyringSchema)
    this.#keyring = new Keyring({
      table: new SigningKeyTable(ctx.storage.sql),
      atomically: (work) => ctx.storage.transactionSync(work),
      secrets: () => acceptedSecrets(env),
      clock: systemClock,
      wakeAt: (at) => inBackground('set the alarm of the signing keys', ctx.storage.setAlarm(at)),
    })
  }

  sign(subject: TokenSubject, seconds: number): Promise<Outcome<SignedToken>> {
    return outcome('sign a token', () => this.#keyring.sign(subject, seconds))
  }

  published(): Promise<Outcome<readonly PublicSigningKey[]>> {
    return outcome('publish the signing keys', () => this.#keyring.published())
  }

  list(): Promise<Outcome<readonly SigningKey[]>> {
    return outcome('list the signing keys', () => this.#keyring.list())
  }

  rotate(): Promise<Outcome<readonly SigningKey[]>> {
    return outcome('rotate the signing keys', () => this.#keyring.rotate())
  }

  override async alarm(): Promise<void> {
    this.#keyring.drop()
  }
}
