/**
 * The errors that the SDK throws: one class per family, so that a program can catch what it can deal with. The platform's error table decides the
 * class of every code; a code without a class does not compile. An aborted call rejects with the signal's own reason and none of these.
 */

import type { ErrorCode } from '@portico/shared/errors'

/** A code of the platform's error table, or `unreachable` where no answer came at all. A newer platform may know more. */
export type PorticoErrorCode = ErrorCode | 'unreachable' | (string & {})

/** What is known of an error. */
export interface PorticoErrorFacts {
  readonly code: PorticoErrorCode
  /** One line, fit for a user: "cannot X: why". */
  readonly message: string
  /** HTTP status of the answer, 0 where there was none. */
  readonly status: number
  /** Whether the same call may succeed later. */
  readonly retryable: boolean
  /** What to do about it. */
  readonly hint?: string | undefined
  /** Names this call in the platform's logs. */
  readonly requestId?: string | undefined
  /** After how long the platform asks to be called again. */
  readonly retryAfterMs?: number | undefined
  readonly cause?: unknown
}

/** Every error of the SDK. */
export class PorticoError extends Error {
  override readonly name: string = 'PorticoError'
  readonly code: PorticoErrorCode
  readonly status: number
  readonly retryable: boolean
  readonly hint: string | undefined
  readonly requestId: string | undefined
  /** After how long the platform asks to be called again; undefined where waiting does not help, or how long is not known. */
  readonly retryAfterMs: number | undefined

  constructor(facts: PorticoErrorFacts) {
    super(facts.message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = facts.code
    this.status = facts.status
    this.retryable = facts.retryable
    this.hint = facts.hint
    this.requestId = facts.requestId
    this.retryAfterMs = facts.retryAfterMs
  }
}

/** The sandbox, snapshot, image, checkpoint, service, file or route does not exist (any more), belongs to another account, or was lost with its runner. */
export class NotFoundError extends PorticoError {
  override readonly name = 'NotFoundError'
}

/** The key is missing, wrong or revoked, or may not do this. */
export class AuthenticationError extends PorticoError {
  override readonly name = 'AuthenticationError'
}

/** The call itself is wrong; it fails again in the same way. */
export class ValidationError extends PorticoError {
  override readonly name = 'ValidationError'
}

/** The call does not fit the present state: a sandbox that does not run or is hibernated, a service that fails, a directory where a file is due, an idempotency key that stands for another call. */
export class ConflictError extends PorticoError {
  override readonly name = 'ConflictError'
}

/** An image cannot be made: its registry refuses the platform, it is not one that a sandbox boots, or a step of its build failed. */
export class ImageError extends PorticoError {
  override readonly name = 'ImageError'
}

/** There is no room: the account's or region's limit, the sandbox's disk, or the runner's for images. */
export class CapacityError extends PorticoError {
  override readonly name: string = 'CapacityError'
}

/** A limit of the account is reached; the message names it. `retryAfterMs` says when to look again. */
export class QuotaError extends CapacityError {
  override readonly name = 'QuotaError'
}

/** The account sends more requests than it may; nothing was done. The SDK has waited and asked again a few times already. */
export class RateLimitError extends CapacityError {
  override readonly name = 'RateLimitError'
}

/** The platform, a runner, the sandbox or an image's registry cannot be reached right now. A command that was under way may or may not have finished. */
export class UnavailableError extends PorticoError {
  override readonly name = 'UnavailableError'
}

/** No answer within the limit of the call. A command that outlives its own `timeoutSec` is no error but a result with `timedOut`. */
export class TimeoutError extends PorticoError {
  override readonly name = 'TimeoutError'
}

const families = {
  invalid_request: ValidationError,
  invalid_json: ValidationError,
  invalid_path: ValidationError,
  image_unknown: ValidationError,
  image_not_allowed: ValidationError,
  image_cap_exceeded: ValidationError,
  unsupported: ValidationError,
  method_not_allowed: ValidationError,
  payload_too_large: ValidationError,
  range_not_satisfiable: ValidationError,
  unauthorized: AuthenticationError,
  forbidden: AuthenticationError,
  not_found: NotFoundError,
  sandbox_not_found: NotFoundError,
  file_not_found: NotFoundError,
  service_not_found: NotFoundError,
  checkpoint_not_found: NotFoundError,
  snapshot_not_found: NotFoundError,
  image_not_found: NotFoundError,
  image_missing: NotFoundError,
  sandbox_lost: NotFoundError,
  image_denied: ImageError,
  image_unsuitable: ImageError,
  build_failed: ImageError,
  conflict: ConflictError,
  image_not_installed: ConflictError,
  sandbox_not_running: ConflictError,
  sandbox_hibernated: ConflictError,
  service_failed: ConflictError,
  sandbox_busy: ConflictError,
  snapshot_incompatible: ConflictError,
  is_directory: ConflictError,
  not_directory: ConflictError,
  idempotency_pending: ConflictError,
  idempotency_mismatch: ConflictError,
  quota_exceeded: QuotaError,
  rate_limited: RateLimitError,
  capacity: CapacityError,
  no_space: CapacityError,
  image_no_space: CapacityError,
  boot_failed: UnavailableError,
  no_runner: UnavailableError,
  image_pull_failed: UnavailableError,
  sandbox_unreachable: UnavailableError,
  runner_disconnected: UnavailableError,
  edge_disconnected: UnavailableError,
  guest_disconnected: UnavailableError,
  overloaded: UnavailableError,
  moved: UnavailableError,
  too_many_streams: UnavailableError,
  deadline: TimeoutError,
  internal: PorticoError,
  sandbox_failed: PorticoError,
  snapshot_damaged: PorticoError,
  guest_error: PorticoError,
  port_closed: PorticoError,
  permission_denied: PorticoError,
  cancelled: PorticoError,
  protocol_error: PorticoError,
  version_unsupported: PorticoError,
} as const satisfies Record<ErrorCode, typeof PorticoError>

const byStatus: Readonly<Record<number, typeof PorticoError>> = {
  401: AuthenticationError,
  403: AuthenticationError,
  404: NotFoundError,
  409: ConflictError,
  410: NotFoundError,
  429: CapacityError,
  503: UnavailableError,
  504: TimeoutError,
}

/** @internal The error of the right class. A code that this SDK does not know is placed by its status. */
export function makeError(facts: PorticoErrorFacts): PorticoError {
  const Family = familyOf(facts.code, facts.status)
  return new Family(facts)
}

function familyOf(code: PorticoErrorCode, status: number): typeof PorticoError {
  if (code === 'unreachable') return UnavailableError
  if (Object.hasOwn(families, code)) return families[code as ErrorCode]
  return byStatus[status] ?? (status >= 400 && status < 500 ? ValidationError : PorticoError)
}
