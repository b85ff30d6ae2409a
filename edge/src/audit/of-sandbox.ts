/** A sandbox's audit log at its object: who may read it and add to it, also after the sandbox is over, and whose key seals it. */

import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { AuditNote, AuditPage, Caller } from '../ports.ts'
import { type Life, notFound } from '../sandbox/life.ts'
import type { AuditLog } from './log.ts'

const keptKey = 'audit-key'

/** Adds lines about calls that the edge let through. Their answers may come in after the sandbox's end. */
export function noteCalls(life: Life, log: AuditLog, caller: Caller, notes: readonly AuditNote[]): void {
  assertOwn(life, caller)
  log.addCalls(notes)
  if (log.isWorthSealing) life.inBackground('seal the audit log', log.seal())
}

/** A page of the log. */
export function readAudit(life: Life, log: AuditLog, caller: Caller, from: number): Promise<AuditPage> {
  assertOwn(life, caller)
  return log.page(from)
}

/** The key that the log is sealed with. It is asked for once and kept, so that all lines of one log have the same. */
export async function auditKeyOf(life: Life, kept: SyncKvStorage): Promise<string> {
  const known = kept.get<string>(keptKey)
  if (known !== undefined) return known
  const key = unwrap(await reach('seal the audit log', life.objects.account(life.known.account).auditKey()))
  kept.put(keptKey, key)
  return key
}

function assertOwn({ record }: Life, { account, region }: Caller): void {
  if (record?.account !== account || record.region !== region) throw notFound()
}
