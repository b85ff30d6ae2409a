/**
 * `/console/…`: the web page, as set-up bundled it. Its files come from the platform's asset store by their own names; type and policy are set
 * here, so that they are the same wherever the Worker runs. The page holds an API key, so nothing but its own files may run or be reached on it.
 */

import { AppError } from '@portico/shared/errors'
import type { Call } from '../call.ts'
import { reach } from '../platform-errors.ts'

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const guarded = {
  'content-security-policy': policy,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

const types: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
}

/** `GET /`: a browser is led to the page; anything else finds nothing here. */
export function front({ request }: Call<'public'>): Response {
  const asked = request.headers.get('accept') ?? ''
  if (!asked.includes('text/html')) throw new AppError('not_found', 'cannot find /: there is no such path')
  return led(302)
}

/** `GET /console` */
export function toPage(): Response {
  return led(308)
}

/** `GET /console/`: asked for anew each time, as it names the files of one build. */
export async function page(call: Call<'public'>): Promise<Response> {
  return await served(call, 'index.html', 'no-cache')
}

/** `GET /console/assets/{file}`: a name carries the hash of its content. */
export async function pageAsset(call: Call<'public'>): Promise<Response> {
  return await served(call, `assets/${call.parameter('file')}`, 'public, max-age=31536000, immutable')
}

function led(status: 302 | 308): Response {
  return new Response(null, { status, headers: { ...guarded, location: '/console/', vary: 'accept' } })
}

async function served({ env, request }: Call<'public'>, file: string, cacheControl: string): Promise<Response> {
  const type = /^[\w/-]+\.(\w+)$/.exec(file)?.[1]
  const contentType = type === undefined ? undefined : types[type]
  const missing = new AppError('not_found', 'cannot find this part of the web page: there is none of that name')
  if (contentType === undefined) throw missing
  const found = await reach('read the web page', env.ASSETS.fetch(`https://assets.invalid/${file}`))
  if (found.status !== 200) throw missing
  const headers = { ...guarded, 'cache-control': cacheControl, 'content-type': contentType }
  return new Response(request.method === 'HEAD' ? null : found.body, { headers })
}
