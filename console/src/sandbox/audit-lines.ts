/** Lines of an audit log as entries. Whether they are as they were written is for whoever has the account's audit key. */

import type { AuditEntry } from '@portico/shared/api'

export function entriesOf(text: string): readonly AuditEntry[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as AuditEntry)
}
