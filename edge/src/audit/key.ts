/** The key that seals an account's audit logs: derived once from the platform's secret of that day, and kept, so that a new secret breaks no chain. */

const encoder = new TextEncoder()

/** 256 bits, in hex. */
export async function deriveAuditKey(secret: string, account: string): Promise<string> {
  const root = await crypto.subtle.importKey('raw', encoder.encode(secret), 'HKDF', false, ['deriveBits'])
  const info = encoder.encode(`portico audit 1 ${account}`)
  const derivation = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info }
  const bits = new Uint8Array(await crypto.subtle.deriveBits(derivation, root, 256))
  return Array.from(bits, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
