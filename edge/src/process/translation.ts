/** What becomes of a process's output on its way through: the form in which a caller has asked for it. */

import type { AppError } from '@portico/shared/errors'
import { encodeOutput, type OutputRecord, recordsType } from '@portico/shared/process-records'

export interface Translation {
  readonly contentType: string
  /** May be empty. */
  translate(records: readonly OutputRecord[]): Uint8Array
  /** How the caller is told that it broke off; undefined breaks the answer off, too. */
  failure(error: AppError): Uint8Array | undefined
}

/** Records as they are. */
export const asRecords: Translation = {
  contentType: recordsType,
  translate: (records) => joined(records.map(encodeOutput)),
  failure: () => undefined,
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
