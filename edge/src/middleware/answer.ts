/** How answers leave: each with the request's id, errors as one line with a code, and nothing of what went wrong on our side. */

import type { ErrorBody } from '@portico/shared/api'
import type { AppError } from '@portico/shared/errors'

const requestIdHeader = 'x-request-id'
const saysWhen = [409, 429, 503]

/** What the API says of an error. */
export function errorBodyOf({ code, message, retryable, hint }: AppError, requestId: string): ErrorBody {
  return { error: message, code, ...(hint === undefined ? {} : { hint }), retryable, request_id: requestId }
}

/** An error as the API shows it. */
export function errorResponse(error: AppError, requestId: string): Response {
  const { status, retryable, retryAfter = 1 } = error
  return Response.json(errorBodyOf(error, requestId), {
    status,
    headers: {
      ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      ...(retryable && saysWhen.includes(status) ? { 'retry-after': String(retryAfter) } : {}),
    },
  })
}

/** The response with the request's id on it. */
export function withRequestId(response: Response, requestId: string): Response {
  const { status, webSocket } = response
  if (status === 101) {
    const headers = new Headers(response.headers)
    headers.set(requestIdHeader, requestId)
    return new Response(null, { status, webSocket, headers })
  }
  response.headers.set(requestIdHeader, requestId)
  return response
}
