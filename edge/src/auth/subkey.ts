/** Keys of one purpose each, derived from the platform's secret: what is signed or sealed for one purpose is worth nothing for another. */

const encoder = new TextEncoder()

/** The HMAC key of a purpose. */
export function subkey(secret: string, purpose: string): Promise<CryptoKey> {
  return derive(secret, purpose, { name: 'HMAC', hash: 'SHA-256', length: 256 }, ['sign'])
}

/** The AES-GCM key of a purpose. */
export function sealingKey(secret: string, purpose: string): Promise<CryptoKey> {
  return derive(secret, purpose, { name: 'AES-GCM', length: 256 }, ['encrypt', 'decrypt'])
}

async function derive(
  secret: string,
  purpose: string,
  algorithm: SubtleCryptoImportKeyAlgorithm,
  usages: string[],
): Promise<CryptoKey> {
  const root = await crypto.subtle.importKey('raw', encoder.encode(secret), 'HKDF', false, ['deriveKey'])
  const info = encoder.encode(purpose)
  const derivation = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info }
  return crypto.subtle.deriveKey(derivation, root, algorithm, false, usages)
}
