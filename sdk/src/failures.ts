/** How a call that went wrong becomes an error of the SDK: from the platform's error body, from an answer that is not the platform's, from the network. */

import { errorBody } from '@portico/shared/api'
import { describe, isErrorCode } from '@portico/shared/errors'
import { makeError, type PorticoError, type PorticoErrorCode } from './errors.ts'

/** The error that an answer outside 200–299 carries. Reads the body. */
export async function refused(response: Response, doing: string): Promise<PorticoError> {
  const text = await response.text()
  const body = errorBody.safeParse(parseJson(text))
  if (!body.success) return notOurs(response, doing)
  const { code, error, hint, retryable, request_id } = body.data
  const facts = { code, message: error, status: response.status, retryable, hint, requestId: request_id }
  return makeError({ ...facts, retryAfterMs: retryAfter(response) })
}

/** What `Retry-After` says, in milliseconds: it holds seconds or a date. */
function retryAfter({ headers }: Response): number | undefined {
  const text = headers.get('retry-after')
  if (text === null) return undefined
  if (/^\d{1,7}$/.test(text)) return Number(text) * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now())
}

/** An error that an answer tells of beside what went well. */
export function reported(code: string, message: string): PorticoError {
  const known = isErrorCode(code) ? describe(code) : { status: 0, retryable: false }
  return makeError({ code, message, ...known })
}

/** The error of an answer that this SDK cannot read. */
export function unreadable(response: Response, doing: string, why: string, cause?: unknown): PorticoError {
  return makeError({
    code: 'protocol_error',
    message: `cannot ${doing}: the answer is not one of Portico's: ${why}`,
    status: response.status,
    retryable: false,
    hint: 'Check the URL of the platform, or upgrade the SDK.',
    requestId: requestId(response),
    cause,
  })
}

/** The error of a request that got no answer, or whose answer broke off. */
export function unreachable(baseUrl: string, doing: string, cause: unknown): PorticoError {
  return makeError({
    code: 'unreachable',
    message: `cannot ${doing}: no answer from ${baseUrl}: ${reason(cause)}`,
    status: 0,
    retryable: true,
    hint: 'Check that the platform runs and that its URL is right.',
    cause,
  })
}

/** What something between us and the platform (a proxy, a wrong address) means by its status. */
const foreign: Readonly<Record<number, PorticoErrorCode>> = {
  401: 'unauthorized',
  407: 'unauthorized',
  413: 'payload_too_large',
  429: 'capacity',
  502: 'overloaded',
  503: 'overloaded',
  504: 'deadline',
}

function notOurs(response: Response, doing: string): PorticoError {
  const { status } = response
  if (status >= 300 && status < 400) {
    const target = response.headers.get('location')
    return unreadable(response, doing, `a redirect${target === null ? '' : ` to ${target}`}`)
  }
  const code = foreign[status]
  if (!isErrorCode(code)) return unreadable(response, doing, `status ${status}`)
  const message = `cannot ${doing}: the server answered ${status} ${response.statusText}`.trim()
  const { retryable, hint } = describe(code)
  const facts = { code, message, status, retryable, hint, requestId: requestId(response) }
  return makeError({ ...facts, retryAfterMs: retryAfter(response) })
}

function requestId(response: Response): string | undefined {
  return response.headers.get('x-request-id') ?? undefined
}

/** The value of a JSON text, or undefined. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the host name cannot be looked up',
  ETIMEDOUT: 'connection timed out',
  UND_ERR_CONNECT_TIMEOUT: 'connection timed out',
  UND_ERR_SOCKET: 'connection closed',
}

/** Runtimes bury why a fetch failed: Node in the cause, and there under a code. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error && typeof error.code === 'string' ? reasons[error.code] : undefined
  if (code !== undefined) return code
  if (error.cause instanceof Error) return reason(error.cause)
  return error.message || error.name
}
