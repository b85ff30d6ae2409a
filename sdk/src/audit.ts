/** Audit logs: what was done to a sandbox and in it, chained so that nothing can be changed, dropped or moved unnoticed. */

import { auditEntry } from '@portico/shared/api'
import { verifyAudit as verify } from '@portico/shared/audit'
import { makeError } from './errors.ts'
import { shortMs } from './limits.ts'
import { invalid } from './options.ts'
import type { CallOptions } from './sandbox.ts'
import type { Transport } from './transport.ts'

export interface AuditOptions extends CallOptions {
  /** The number of the first entry; 0 unless told. */
  readonly from?: number | undefined
}

/** One entry. */
export interface AuditEntry {
  /** From 0, without gaps. */
  readonly seq: number
  readonly at: Date
  readonly sandboxId: string
  /** What happened, such as `sandbox.created`. */
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
  /** `sha256:` and hex: covers this entry and, through the one before it, all that came before. */
  readonly hmac: string
}

/** Whether a log is whole: how many entries it has and how its last is signed, or which line is wrong and why. */
export type AuditVerdict =
  | { readonly ok: true; readonly entries: number; readonly last: string | null }
  | { readonly ok: false; readonly line: number; readonly why: string }

/**
 * Checks a log from its first entry on, without the platform: finds what was changed, dropped or moved. Entries that are missing at the end show only
 * in `last`, to those who know what it should be.
 */
export async function verifyAudit(
  lines: AsyncIterable<string> | Iterable<string>,
  keyHex: string,
): Promise<AuditVerdict> {
  if (!/^[0-9a-f]{64}$/i.test(keyHex))
    throw invalid(
      'cannot verify the audit log: the key is none',
      'It has 64 hex digits; Portico.auditKey() answers with it.',
    )
  return await verify(lines, keyHex)
}

/** @internal */
export async function* auditEntries(
  transport: Transport,
  sandbox: string,
  options: AuditOptions,
): AsyncGenerator<AuditEntry, void> {
  for await (const line of auditLines(transport, sandbox, options)) {
    const { ts, sandbox_id, ...entry } = entryOf(line)
    yield { ...entry, at: new Date(ts), sandboxId: sandbox_id }
  }
}

/** @internal The log as the platform sends it, line by line. */
export async function* auditLines(
  transport: Transport,
  sandbox: string,
  { from, signal }: AuditOptions,
): AsyncGenerator<string, void> {
  const query = from === undefined ? '' : `?from=${from}`
  const body = await transport.stream({
    method: 'GET',
    path: `/v1/runs/${encodeURIComponent(sandbox)}/audit${query}`,
    doing: 'read the audit log',
    limitMs: shortMs,
    repeatable: true,
    signal,
  })
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for (;;) {
      const { value, done } = await reader.read()
      const lines = (rest + decoder.decode(value, { stream: !done })).split('\n')
      rest = lines.pop() ?? ''
      yield* lines
      if (!done) continue
      if (rest !== '') yield rest
      return
    }
  } finally {
    // Who stops reading needs no more of it.
    await reader.cancel().catch(() => undefined)
  }
}

function entryOf(line: string) {
  try {
    return auditEntry.parse(JSON.parse(line))
  } catch (cause) {
    const message = 'cannot read the audit log: a line of it is no entry'
    throw makeError({ code: 'protocol_error', message, status: 0, retryable: false, cause })
  }
}
