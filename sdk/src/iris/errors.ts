/** The one error of the Iris surface, and how an answer or a fetch that failed becomes one. */

/** What is known of an error. */
export interface IrisErrorFacts {
  /** One line: "cannot X: why". */
  readonly message: string
  /** HTTP status of the answer, 0 where there was none. */
  readonly status: number
  /** Of the gateway a code of Connect such as `not_found`, of a sandbox one of the platform's such as `file_not_found`. */
  readonly code: string
  /** Whether the same call may succeed later. */
  readonly retryable?: boolean | undefined
  /** Names the call in the platform's logs. */
  readonly requestId?: string | undefined
  readonly cause?: unknown
}

/** Every error of this module. A call that its signal aborted rejects with the signal's own reason instead. */
export class IrisError extends Error {
  override readonly name = 'IrisError'
  readonly status: number
  readonly code: string
  readonly retryable: boolean
  readonly requestId: string | undefined

  constructor(facts: IrisErrorFacts) {
    super(facts.message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.status = facts.status
    this.code = facts.code
    this.retryable = facts.retryable ?? false
    this.requestId = facts.requestId
  }
}

/** @internal A call that is wrong before it is made. */
export function invalid(message: string): IrisError {
  return new IrisError({ message, status: 0, code: 'invalid_argument' })
}

/** What an answer without a readable body means. */
const byStatus: Readonly<Record<number, string>> = {
  400: 'invalid_argument',
  401: 'unauthenticated',
  403: 'permission_denied',
  404: 'not_found',
  409: 'aborted',
  413: 'payload_too_large',
  429: 'resource_exhausted',
  503: 'unavailable',
  504: 'deadline_exceeded',
}

/** @internal The error that an answer outside 200–299 carries: `{code, message}` of the gateway or `{code, error}` of a sandbox. */
export async function refused(response: Response, doing: string): Promise<IrisError> {
  const { status } = response
  const body = fieldsOf(await response.text())
  const code = text(body.code) ?? byStatus[status] ?? 'unknown'
  const why = text(body.message) ?? text(body.error) ?? `the server answered ${status}`
  return new IrisError({
    message: why.startsWith('cannot ') ? why : `cannot ${doing}: ${why}`,
    status,
    code,
    retryable: typeof body.retryable === 'boolean' ? body.retryable : status === 503 || status === 429,
    requestId: text(body.request_id) ?? response.headers.get('x-request-id') ?? undefined,
  })
}

/** @internal The error of a request that got no answer. */
export function unreachable(origin: string, doing: string, cause: unknown): IrisError {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
  const why = inner instanceof Error ? inner.message : String(inner)
  const message = `cannot ${doing}: no answer from ${origin}: ${why}`
  return new IrisError({ message, status: 0, code: 'unavailable', retryable: true, cause })
}

/** @internal The error of an answer that is not what was asked for. */
export function unreadable(response: Response, doing: string, why: string, cause?: unknown): IrisError {
  const message = `cannot ${doing}: the answer cannot be read: ${why}`
  return new IrisError({ message, status: response.status, code: 'internal', cause })
}

function fieldsOf(body: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
