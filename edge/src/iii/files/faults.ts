/** What a sandbox says of its files, in iii's codes. Whatever is not about files is left as it is. */

import { AppError, type ErrorCode } from '@portico/shared/errors'
import { Fault, type FaultCode } from '../errors.ts'

const translations: Partial<Record<ErrorCode, FaultCode>> = {
  invalid_path: 'S210',
  invalid_request: 'S210',
  file_not_found: 'S211',
  is_directory: 'S212',
  not_directory: 'S212',
  conflict: 'S213',
  permission_denied: 'S215',
  no_space: 'S216',
  guest_error: 'S216',
  unsupported: 'S219',
}

/** Codes that mean something else to one function. */
export type Other = Partial<Record<ErrorCode, FaultCode>>

/** Does work on files; what the sandbox refuses is thrown as a fault. */
export async function withFaults<Value>(work: Promise<Value>, other: Other = {}): Promise<Value> {
  try {
    return await work
  } catch (thrown) {
    throw faultOf(thrown, other)
  }
}

/** The fault, or what was thrown where it is none about files. */
export function faultOf(thrown: unknown, other: Other = {}): unknown {
  if (!(thrown instanceof AppError)) return thrown
  const code = other[thrown.code] ?? translations[thrown.code]
  return code === undefined ? thrown : new Fault(code, thrown.message)
}
