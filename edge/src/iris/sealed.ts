/**
 * A private key as it is stored: 12 bytes of nonce, then its JWK in AES-GCM under a key derived from the platform's secret, bound to the key's id. One that
 * was sealed under the former secret still opens, and says so.
 */

import { sealingKey } from '../auth/subkey.ts'

const purpose = 'portico signing key 1'
const nonceBytes = 12
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export async function seal(secret: string, kid: string, jwk: JsonWebKey): Promise<ArrayBuffer> {
  const iv = crypto.getRandomValues(new Uint8Array(nonceBytes))
  const key = await sealingKey(secret, purpose)
  const content = encoder.encode(JSON.stringify(jwk))
  const hidden = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: encoder.encode(kid) }, key, content)
  return await new Blob([iv, hidden]).arrayBuffer()
}

/** The key, and whether it was the first of the secrets that opened it; undefined if none does. */
export async function unseal(
  secrets: readonly string[],
  kid: string,
  sealed: ArrayBuffer,
): Promise<{ jwk: JsonWebKey; current: boolean } | undefined> {
  const algorithm = {
    name: 'AES-GCM',
    iv: sealed.slice(0, nonceBytes),
    additionalData: encoder.encode(kid),
  }
  for (const [at, secret] of secrets.entries()) {
    const key = await sealingKey(secret, purpose)
    try {
      const content = await crypto.subtle.decrypt(algorithm, key, sealed.slice(nonceBytes))
      return { jwk: JSON.parse(decoder.decode(content)) as JsonWebKey, current: at === 0 }
    } catch {
      // Of another secret, or damaged: the next one is tried.
    }
  }
  return undefined
}
