/**
 * Errors as Connect's unary protocol shows them: a code of its own short list, the status that belongs to it, one line; no details. Every code of ours has
 * its place in the table, or this does not compile.
 */

import type { AppError, ErrorCode } from '@portico/shared/errors'
import { Refusal } from '../middleware/refusal.ts'

const statuses = {
  canceled: 499,
  unknown: 500,
  invalid_argument: 400,
  deadline_exceeded: 504,
  not_found: 404,
  already_exists: 409,
  permission_denied: 403,
  resource_exhausted: 429,
  failed_precondition: 400,
  aborted: 409,
  unimplemented: 501,
  internal: 500,
  unavailable: 503,
  data_loss: 500,
  unauthenticated: 401,
} as const

export type ConnectCode = keyof typeof statuses

const codes: Readonly<Record<ErrorCode, ConnectCode>> = {
  invalid_request: 'invalid_argument',
  invalid_json: 'invalid_argument',
  invalid_path: 'invalid_argument',
  image_unknown: 'invalid_argument',
  image_cap_exceeded: 'invalid_argument',
  payload_too_large: 'resource_exhausted',
  range_not_satisfiable: 'invalid_argument',
  unauthorized: 'unauthenticated',
  forbidden: 'permission_denied',
  permission_denied: 'permission_denied',
  image_not_allowed: 'permission_denied',
  image_denied: 'permission_denied',
  not_found: 'not_found',
  sandbox_not_found: 'not_found',
  file_not_found: 'not_found',
  service_not_found: 'not_found',
  checkpoint_not_found: 'not_found',
  snapshot_not_found: 'not_found',
  image_not_found: 'not_found',
  image_missing: 'not_found',
  sandbox_lost: 'not_found',
  method_not_allowed: 'unimplemented',
  unsupported: 'unimplemented',
  conflict: 'aborted',
  sandbox_not_running: 'failed_precondition',
  sandbox_hibernated: 'failed_precondition',
  sandbox_failed: 'failed_precondition',
  service_failed: 'failed_precondition',
  is_directory: 'failed_precondition',
  not_directory: 'failed_precondition',
  snapshot_incompatible: 'failed_precondition',
  image_not_installed: 'failed_precondition',
  image_unsuitable: 'failed_precondition',
  build_failed: 'failed_precondition',
  idempotency_mismatch: 'failed_precondition',
  sandbox_busy: 'aborted',
  idempotency_pending: 'aborted',
  snapshot_damaged: 'data_loss',
  capacity: 'resource_exhausted',
  quota_exceeded: 'resource_exhausted',
  rate_limited: 'resource_exhausted',
  no_space: 'resource_exhausted',
  image_no_space: 'resource_exhausted',
  sandbox_unreachable: 'unavailable',
  port_closed: 'unavailable',
  boot_failed: 'unavailable',
  no_runner: 'unavailable',
  image_pull_failed: 'unavailable',
  runner_disconnected: 'unavailable',
  edge_disconnected: 'unavailable',
  guest_disconnected: 'unavailable',
  overloaded: 'unavailable',
  too_many_streams: 'unavailable',
  moved: 'unavailable',
  deadline: 'deadline_exceeded',
  cancelled: 'canceled',
  internal: 'internal',
  guest_error: 'internal',
  protocol_error: 'internal',
  version_unsupported: 'internal',
}

/** What a code of ours is called there, and the status that goes with it. */
export function connectCodeOf(code: ErrorCode): { code: ConnectCode; status: number } {
  return { code: codes[code], status: statuses[codes[code]] }
}

/** An error as a Connect client reads it. */
export function connectErrorResponse(error: AppError): Response {
  const { code, status } = connectCodeOf(error.code)
  const answered = (error instanceof Refusal ? error.answeredWith : undefined) ?? status
  return Response.json(
    { code, message: error.message },
    {
      status: answered,
      headers: {
        ...(answered === 401 ? { 'www-authenticate': 'Bearer' } : {}),
        ...(error.retryable && (answered === 429 || answered === 503)
          ? { 'retry-after': String(error.retryAfter ?? 1) }
          : {}),
      },
    },
  )
}
