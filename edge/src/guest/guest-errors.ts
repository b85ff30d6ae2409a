/** Errors that the agent answers, as errors of ours. A guest's word is hostile: it may name only codes that concern its own files, processes and services. */

import { AppError, type ErrorCode, isErrorCode } from '@portico/shared/errors'
import { guestError as guestErrorBody } from '@portico/shared/guest'

const theirs: readonly ErrorCode[] = [
  'invalid_request',
  'invalid_json',
  'invalid_path',
  'not_found',
  'file_not_found',
  'permission_denied',
  'conflict',
  'is_directory',
  'not_directory',
  'payload_too_large',
  'no_space',
  'service_not_found',
  'service_failed',
  'overloaded',
]

/** The error behind an answer of the agent with status 400 or more. */
export function guestError(status: number, body: string): AppError {
  // Said by the agent's file server in its own words.
  if (status === 416) return new AppError('range_not_satisfiable', 'cannot read the file: the range is not in it')
  const told = parse(body)
  if (told !== undefined && isErrorCode(told.code) && theirs.includes(told.code)) return AppError.fromWire(told)
  const why = told?.message ?? `the sandbox answered ${status}`
  return new AppError('guest_error', `cannot finish the call: ${why}`)
}

function parse(body: string): { code: string; message: string } | undefined {
  try {
    const parsed = guestErrorBody.safeParse(JSON.parse(body))
    return parsed.success ? parsed.data.error : undefined
  } catch {
    return undefined
  }
}
