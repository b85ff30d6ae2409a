/**
 * API keys and runner tokens: made and parsed here only.
 *
 *   portico_live_<region>_<account (26)><serial (10)>_<secret (52)>
 *   portico_runner_<region>_<runner id>_<secret (52)>
 *
 * The secret is the HMAC-SHA256 of region and id under a subkey of the platform's secret, in base32: a forged token is refused
 * without asking anybody. What is stored is the SHA-256 of the secret alone.
 */

import { base32, parseAccountId, parseRegion, parseRunnerId } from '@portico/shared/ids'
import { subkey } from './subkey.ts'

export type TokenKind = 'key' | 'runner'

export interface Token {
  readonly kind: TokenKind
  readonly region: string
  /** Key: account and serial. Runner: its id. */
  readonly id: string
  readonly secret: string
}

const prefixes = { key: 'portico_live', runner: 'portico_runner' } as const
const accountLength = 26
const serialPattern = /^[a-z2-7]{10}$/
const secretPattern = /^[a-z2-7]{52}$/

/** Signs and checks tokens of one kind. */
export interface Signer {
  sign(region: string, id: string): Promise<Token>
  verify(token: Token): Promise<boolean>
}

/** The signer of a kind, from the platform's secret. */
export async function makeSigner(secret: string, kind: TokenKind): Promise<Signer> {
  const key = await subkey(secret, `portico ${kind} 1`)
  const secretOf = async (region: string, id: string) =>
    base32(new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes(`${kind}.${region}.${id}`))))
  return {
    sign: async (region, id) => ({ kind, region, id, secret: await secretOf(region, id) }),
    verify: async (token) => token.kind === kind && sameText(token.secret, await secretOf(token.region, token.id)),
  }
}

/** The token as its owner gets it. */
export function formatToken(token: Token): string {
  return `${prefixes[token.kind]}_${token.region}_${token.id}_${token.secret}`
}

/** The token, or undefined if the text does not have its form. */
export function parseToken(kind: TokenKind, text: string): Token | undefined {
  const prefix = `${prefixes[kind]}_`
  if (!text.startsWith(prefix)) return undefined
  const [region = '', id = '', secret = '', ...rest] = text.slice(prefix.length).split('_')
  const known = kind === 'key' ? parseKeyId(id) !== undefined : parseRunnerId(id) !== undefined
  if (rest.length > 0 || !known || parseRegion(region) === undefined || !secretPattern.test(secret)) return undefined
  return { kind, region, id, secret }
}

/** The two parts of a key's id. */
export function parseKeyId(id: string): { account: string; serial: string } | undefined {
  const account = id.slice(0, accountLength)
  const serial = id.slice(accountLength)
  return parseAccountId(account) !== undefined && serialPattern.test(serial) ? { account, serial } : undefined
}

/** A new key's serial within its account: 50 random bits. */
export function newKeySerial(): string {
  return base32(crypto.getRandomValues(new Uint8Array(7))).slice(0, 10)
}

/** What is stored of a secret. */
export async function hashSecret(secret: string): Promise<string> {
  return base32(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes(secret))))
}

/** Compares without telling by its time where two texts differ; their length is no secret. */
export function sameText(a: string, b: string): boolean {
  const [left, right] = [bytes(a), bytes(b)]
  return left.byteLength === right.byteLength && crypto.subtle.timingSafeEqual(left, right)
}

const encoder = new TextEncoder()
function bytes(text: string): Uint8Array {
  return encoder.encode(text)
}
