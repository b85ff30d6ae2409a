/**
 * How a host name below `localhost` is reached. Browsers know that such names are this machine; the resolvers of most systems do not. So outside of
 * browsers the connection goes to 127.0.0.1 while the request keeps its name in `Host`. Node's `fetch` takes no `host` header but lets its dispatcher be
 * told; other runtimes ask their resolver, or are given a `fetch` of the program's own.
 */

import { patient } from '../platform.ts'

interface Request {
  readonly origin?: string | URL
  readonly headers?: Readonly<Record<string, string>> | readonly string[]
}

/** Options of `fetch` that wait as long as the call's signal does and find names below `localhost`. Nothing where the runtime has no such options. */
export function reaching(): object {
  return patient(reroute)
}

/** @internal The same request, sent to this machine if its name says so. */
export function reroute(request: Request): Request {
  const url = URL.canParse(String(request.origin)) ? new URL(String(request.origin)) : undefined
  // Over TLS the name is part of the connection; such a platform has names that resolve.
  if (url === undefined || url.protocol !== 'http:' || !url.hostname.endsWith('.localhost')) return request
  const { headers } = request
  const port = url.port === '' ? '' : `:${url.port}`
  return {
    ...request,
    origin: `http://127.0.0.1${port}`,
    headers: isPairs(headers) ? [...headers, 'host', url.host] : { ...headers, host: url.host },
  }
}

function isPairs(headers: Request['headers']): headers is readonly string[] {
  return Array.isArray(headers)
}
