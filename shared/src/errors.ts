/**
 * Every error that crosses a part: one table of code, HTTP status, whether the same call may succeed later, and a hint that says what to do.
 * The HTTP body, the tunnel's RESET and answer heads, and the SDK's classes all come from here. Messages are one line, for a user;
 * causes stay on our side, for the log.
 */

interface ErrorRow {
  readonly status: number
  readonly retryable: boolean
  readonly hint?: string
  /** Seconds after which the same call is worth another try: the answer's `Retry-After`. */
  readonly retryAfter?: number
}

const table = {
  invalid_request: { status: 400, retryable: false },
  invalid_json: { status: 400, retryable: false, hint: 'Send one JSON object.' },
  invalid_path: { status: 400, retryable: false, hint: 'Give an absolute path, such as /app/main.py.' },
  image_unknown: {
    status: 400,
    retryable: false,
    hint: 'Use an image that the platform lists under /v1/images, such as python or node.',
  },
  image_not_allowed: {
    status: 403,
    retryable: false,
    hint: 'Use an image of the list under /v1/images, or have the operator add this one to image_allowlist in portico.yaml.',
  },
  image_cap_exceeded: {
    status: 400,
    retryable: false,
    hint: 'Ask for less, or have the operator raise per_image_caps in portico.yaml.',
  },
  image_not_installed: {
    status: 409,
    retryable: false,
    hint: 'The operator pulls it first with portico images pull, or sets auto_install: true in portico.yaml.',
  },
  image_missing: {
    status: 404,
    retryable: false,
    hint: 'Check the name and the tag: its registry does not have it.',
  },
  image_denied: {
    status: 403,
    retryable: false,
    hint: 'Its registry wants other credentials than the runner has; the operator gives them with registry_auth in portico.yaml.',
  },
  image_unsuitable: {
    status: 400,
    retryable: false,
    hint: 'Sandboxes boot images for linux/amd64 whose layers are whole and stay inside their root.',
  },
  image_pull_failed: {
    status: 503,
    retryable: true,
    hint: 'Its registry could not be reached; try again.',
    retryAfter: 5,
  },
  image_no_space: {
    status: 503,
    retryable: true,
    hint: "The runner's disk is full of images that are in use; the operator makes room.",
    retryAfter: 30,
  },
  image_not_found: {
    status: 404,
    retryable: false,
    hint: 'It never existed, is deleted, or belongs to another account.',
  },
  build_failed: { status: 422, retryable: false, hint: 'Read what the step printed, mend it, and build again.' },
  unsupported: { status: 400, retryable: false },
  unauthorized: {
    status: 401,
    retryable: false,
    hint: 'Send Authorization: Bearer <key> with a key of this platform.',
  },
  forbidden: { status: 403, retryable: false },
  not_found: { status: 404, retryable: false },
  sandbox_not_found: {
    status: 404,
    retryable: false,
    hint: 'It never existed, is destroyed, or belongs to another account.',
  },
  file_not_found: { status: 404, retryable: false },
  method_not_allowed: { status: 405, retryable: false },
  conflict: { status: 409, retryable: false },
  sandbox_not_running: { status: 409, retryable: false },
  sandbox_hibernated: {
    status: 409,
    retryable: false,
    hint: 'Resume it first, or create sandboxes with auto_resume: true, which wakes them on any use.',
  },
  service_not_found: { status: 404, retryable: false, hint: 'Create it first: PUT /services/NAME with its cmd.' },
  service_failed: {
    status: 409,
    retryable: false,
    hint: 'Read its logs; start it again once the reason is mended.',
  },
  checkpoint_not_found: {
    status: 404,
    retryable: false,
    hint: 'It never existed, is deleted, or belongs to another sandbox.',
  },
  sandbox_busy: {
    status: 409,
    retryable: true,
    hint: 'A checkpoint is being restored; the sandbox can be used again when that is over.',
    retryAfter: 1,
  },
  snapshot_not_found: {
    status: 404,
    retryable: false,
    hint: 'It never existed, is deleted, or belongs to another account.',
  },
  snapshot_incompatible: {
    status: 409,
    retryable: false,
    hint: 'It was saved with another version of the virtual machine or another processor model and can only be restored there.',
  },
  snapshot_damaged: {
    status: 500,
    retryable: false,
    hint: 'What was saved no longer matches its checksums; it is refused, not guessed at.',
  },
  is_directory: { status: 409, retryable: false },
  not_directory: { status: 409, retryable: false },
  payload_too_large: { status: 413, retryable: false },
  range_not_satisfiable: { status: 416, retryable: false, hint: 'The file ends before the range begins.' },
  capacity: { status: 429, retryable: true, hint: 'Destroy a sandbox or try again later.' },
  quota_exceeded: {
    status: 429,
    retryable: true,
    hint: 'Destroy what is no longer needed, or have the limit raised by the operator.',
    retryAfter: 5,
  },
  rate_limited: { status: 429, retryable: true, hint: 'Send fewer requests per second.', retryAfter: 1 },
  idempotency_pending: {
    status: 409,
    retryable: true,
    hint: 'The first call with this Idempotency-Key is still under way; ask again for its answer.',
    retryAfter: 1,
  },
  idempotency_mismatch: {
    status: 422,
    retryable: false,
    hint: 'Use a new Idempotency-Key for another request.',
  },
  sandbox_lost: {
    status: 410,
    retryable: false,
    hint: 'Its runner was given up by the operator; create a new one.',
  },
  sandbox_unreachable: {
    status: 503,
    retryable: true,
    hint: 'Its runner is not connected; the sandbox goes on when the runner is back.',
    retryAfter: 5,
  },
  internal: { status: 500, retryable: false, hint: 'Report the request id.' },
  sandbox_failed: { status: 500, retryable: false, hint: 'Its virtual machine ended unexpectedly; create a new one.' },
  guest_error: { status: 502, retryable: false },
  port_closed: { status: 502, retryable: false, hint: 'Start the server in the sandbox, or wait until it listens.' },
  permission_denied: { status: 403, retryable: false },
  no_space: { status: 507, retryable: false, hint: 'Free space in the sandbox or create it with more disk_mib.' },
  boot_failed: { status: 503, retryable: true },
  no_runner: {
    status: 503,
    retryable: true,
    hint: 'No runner of this region is connected; try again in a few seconds.',
  },
  runner_disconnected: {
    status: 503,
    retryable: true,
    hint: 'The sandbox still exists; a command that was under way may or may not have finished.',
  },
  edge_disconnected: { status: 503, retryable: true },
  guest_disconnected: {
    status: 503,
    retryable: true,
    hint: 'A command that was under way may or may not have finished.',
  },
  overloaded: { status: 503, retryable: true },
  deadline: { status: 504, retryable: true },
  cancelled: { status: 499, retryable: false },
  moved: { status: 421, retryable: true },
  protocol_error: { status: 502, retryable: false },
  too_many_streams: { status: 503, retryable: true },
  version_unsupported: { status: 502, retryable: false, hint: 'Upgrade the older side.' },
} as const satisfies Record<string, ErrorRow>

/** A code of the table. */
export type ErrorCode = keyof typeof table

/** All codes, for tests that walk the table. */
export const errorCodes = Object.keys(table) as ErrorCode[]

/** Status, retryable and hint of a code. */
export function describe(code: ErrorCode): ErrorRow {
  return table[code]
}

/** Whether a string is a code of the table. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(table, value)
}

/** What goes over a wire: nothing but the code and one line. */
export interface WireError {
  readonly code: ErrorCode
  readonly message: string
}

/** An error with a code of the table. Its message reads "cannot X: why" and is fit for a user. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(oneLine(message), options)
    this.code = code
  }

  get status(): number {
    return table[this.code].status
  }

  get retryable(): boolean {
    return table[this.code].retryable
  }

  get hint(): string | undefined {
    return describe(this.code).hint
  }

  /** Seconds; undefined where waiting does not help. */
  get retryAfter(): number | undefined {
    return describe(this.code).retryAfter
  }

  /** Code and message alone; the cause stays here. */
  toWire(): WireError {
    return { code: this.code, message: this.message }
  }

  /** Any thrown value as an AppError: itself, or `internal` with the value as its cause and nothing of it in the message. */
  static from(value: unknown, fallback = 'cannot finish the request: something went wrong on our side'): AppError {
    if (value instanceof AppError) return value
    return new AppError('internal', fallback, { cause: value })
  }

  /** The error a peer sent. An unknown code (a newer peer's) becomes `internal`. */
  static fromWire(value: unknown): AppError {
    const { code, message } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
    const text = typeof message === 'string' && message !== '' ? message : 'the other side gave no reason'
    return new AppError(isErrorCode(code) ? code : 'internal', text)
  }
}

const maxMessage = 500

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length > maxMessage ? `${line.slice(0, maxMessage - 1)}…` : line
}
