/**
 * What a visitor of an app's host is told when there is no answer of the app: what is wrong, and nothing of whose sandbox it is, where it runs or
 * whether it ever was. A small page for browsers, JSON for anything else.
 */

import type { ErrorBody } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'

interface Told {
  readonly status: number
  readonly text: string
}

const gone: Told = { status: 404, text: 'There is nothing at this address.' }
const away: Told = { status: 503, text: 'The sandbox behind this address cannot be reached right now.' }
const asleep: Told = { status: 503, text: 'The sandbox behind this address is not running right now.' }
const broken: Told = { status: 502, text: 'The server behind this address gave no answer that could be passed on.' }

const told: Readonly<Partial<Record<AppError['code'], Told>>> = {
  not_found: gone,
  sandbox_not_found: gone,
  sandbox_lost: gone,
  sandbox_hibernated: asleep,
  sandbox_not_running: asleep,
  sandbox_failed: asleep,
  sandbox_unreachable: away,
  runner_disconnected: away,
  guest_disconnected: away,
  moved: away,
  overloaded: away,
  too_many_streams: away,
  quota_exceeded: away,
  port_closed: { status: 502, text: 'Nothing listens on this port of the sandbox.' },
  guest_error: broken,
  protocol_error: broken,
  unauthorized: { status: 401, text: 'This address needs a key or a signed link.' },
  forbidden: { status: 403, text: 'This key or link does not open this address, or no longer does.' },
  rate_limited: { status: 429, text: 'Too many requests with this key.' },
  invalid_request: { status: 400, text: 'The request cannot be passed on as it is.' },
  payload_too_large: { status: 413, text: 'The request is too large.' },
  deadline: { status: 504, text: 'The server behind this address did not answer in time.' },
  unsupported: { status: 501, text: 'The sandbox behind this address cannot serve ports.' },
}
const other: Told = { status: 500, text: 'Something went wrong on our side.' }

const guarded = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

/** The answer in place of the app's. */
export function portErrorResponse(error: AppError, request: Request, requestId: string): Response {
  const { status, text } = told[error.code] ?? other
  const code = status === 404 ? 'not_found' : status === 500 ? 'internal' : error.code
  const isRetryable = [429, 503, 504].includes(status)
  const headers = {
    ...guarded,
    'x-request-id': requestId,
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(status === 429 || status === 503 ? { 'retry-after': String(error.retryAfter ?? 5) } : {}),
  }
  if (request.headers.get('accept')?.includes('text/html')) {
    const type = { 'content-type': 'text/html; charset=utf-8' }
    return new Response(request.method === 'HEAD' ? null : page(status, text, requestId), {
      status,
      headers: { ...headers, ...type },
    })
  }
  const body: ErrorBody = { error: text, code, retryable: isRetryable, request_id: requestId }
  const type = { 'content-type': 'application/json' }
  return new Response(request.method === 'HEAD' ? null : JSON.stringify(body), {
    status,
    headers: { ...headers, ...type },
  })
}

/** For a host of ours that leads nowhere. */
export function nothingHere(): AppError {
  return new AppError('not_found', 'cannot find the page: there is nothing at this address')
}

function page(status: number, text: string, requestId: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${status}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:20vh auto;padding:0 1em}small{opacity:.6}</style>
<h1>${status}</h1>
<p>${text}</p>
<small>${requestId}</small>
`
}
