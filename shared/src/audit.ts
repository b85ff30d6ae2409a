/**
 * The chain of a sandbox's audit log: how an entry is written down, sealed, and checked by whoever has the account's key, without asking
 * anybody. Web Crypto alone.
 *
 *   hmac of entry N = HMAC-SHA256(key, hex of entry N-1 ‖ "\n" ‖ RFC 8785 JSON of entry N without `hmac`); before entry 0 stand 64 zeros
 *
 * What a chain cannot tell: that entries at its end are missing. Compare the last one with the answer's `Portico-Audit-Last`.
 */

import { type AuditEntry, auditEntry } from './api/account.ts'

/** Stands before the first entry. */
export const auditGenesis = '0'.repeat(64)

const prefix = 'sha256:'

/** An entry that has its place in the chain, but no seal yet. */
export type Unsealed = Omit<AuditEntry, 'hmac'>

/** `entries` of them hold; `last` is the `hmac` of the last, or null if there is none. `line` counts from 1. */
export type AuditVerdict =
  | { readonly ok: true; readonly entries: number; readonly last: string | null }
  | { readonly ok: false; readonly line: number; readonly why: string }

/** A key that seals; the name of its type differs between runtimes. */
export type ImportedAuditKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>

/** The key, of its 64 hex digits. */
export async function importAuditKey(hex: string): Promise<ImportedAuditKey> {
  if (!/^[0-9a-f]{64}$/i.test(hex)) throw new TypeError('cannot use the audit key: it has 64 hex digits')
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  return crypto.subtle.importKey('raw', fromHex(hex), algorithm, false, ['sign'])
}

/** The entry's seal, given that of the entry before it (or the genesis). */
export async function sealEntry(key: ImportedAuditKey, previous: string, entry: Unsealed): Promise<string> {
  const { seq, ts, sandbox_id, event, data } = entry
  const input = `${bare(previous)}\n${canonicalJson({ seq, ts, sandbox_id, event, data })}`
  return prefix + toHex(new Uint8Array(await crypto.subtle.sign('HMAC', key, encoder.encode(input))))
}

/** Reads a whole log, as lines of NDJSON, and says where it stops being what was written. Blank lines are skipped. */
export async function verifyAudit(
  lines: AsyncIterable<string> | Iterable<string>,
  keyHex: string,
): Promise<AuditVerdict> {
  const key = await importAuditKey(keyHex)
  let line = 0
  let entries = 0
  let last: string | null = null
  let sandbox: string | undefined
  for await (const text of lines) {
    line++
    if (text.trim() === '') continue
    const entry = parseEntry(text)
    if (entry === undefined) return { ok: false, line, why: 'it is no entry of an audit log' }
    sandbox ??= entry.sandbox_id
    if (entry.sandbox_id !== sandbox) return { ok: false, line, why: 'it is of another sandbox' }
    if (entry.seq !== entries)
      return { ok: false, line, why: `entry ${entries} is due, and this is entry ${entry.seq}` }
    if (entry.hmac !== (await sealEntry(key, last ?? auditGenesis, entry))) {
      return { ok: false, line, why: 'its seal is wrong: it or an entry before it was changed, or the key is another' }
    }
    last = entry.hmac
    entries++
  }
  return { ok: true, entries, last }
}

/** RFC 8785: members by UTF-16 code units, no white space, numbers and strings as ECMAScript writes them. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  members.sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`
}

/** An entry, only if it has nothing that its seal does not cover. */
function parseEntry(text: string): AuditEntry | undefined {
  try {
    return auditEntry.strict().parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

function bare(hmac: string): string {
  return hmac.startsWith(prefix) ? hmac.slice(prefix.length) : hmac
}

const encoder = new TextEncoder()

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: hex.length / 2 }, (_, index) =>
    Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16),
  )
}
