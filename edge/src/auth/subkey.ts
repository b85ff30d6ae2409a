/** Keys of one purpose each, derived from the platform's secret: what is signed for one purpose is worth nothing for another. */

const encoder = new TextEncoder()

/** The HMAC key of a purpose. */
export async function subkey(secret: string, purpose: string): Promise<CryptoKey> {
  const root = await crypto.subtle.importKey('raw', encoder.encode(secret), 'HKDF', false, ['deriveKey'])
  const info = encoder.encode(purpose)
  const derivation = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info }
  const algorithm = { name: 'HMAC', hash: 'SHA-256', length: 256 }
  return crypto.subtle.deriveKey(derivation, root, algorithm, false, ['sign'])
}
