/** How answers leave: each with the request's id, errors as one line with a code, and nothing of what went wrong on our side. */

import type { ErrorBody } from '@portico/shared/api'
import type { AppError } from '@portico/shared/errors'

const requestIdHeader = 'x-request-id'
const saysWhen = [409, 429, 503]

/** An error as the API shows it. */
export function errorResponse(error: AppError, requestId: string): Response {
  const { code, message, status, retryable, hint, retryAfter = 1 } = error
  const body: ErrorBody = {
    error: message,
    code,
    ...(hint === undefined ? {} : { hint }),
    retryable,
    request_id: requestId,
  }
  return Response.json(body, {
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
  if (status === 101) return new Response(null, { status, webSocket, headers: { [requestIdHeader]: requestId } })
  response.headers.set(requestIdHeader, requestId)
  return response
}
