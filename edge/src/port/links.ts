/**
 * Links that open one port for a while: an expiry and an HMAC over sandbox, port, the version of the port's setting and the expiry, under a key of
 * its own. The next change of the setting ends all of them. What a link said is kept as a cookie of the app's host, and never gets to the app.
 */

import { base32 } from '@portico/shared/ids'
import { subkey } from '../auth/subkey.ts'
import { sameText } from '../auth/tokens.ts'

export interface LinkOf {
  readonly sandbox: string
  readonly port: number
  readonly version: number
}

/** What a caller showed. */
export interface Shown {
  /** Seconds since 1970. */
  readonly expires: number
  readonly signature: string
}

const names = { expires: 'portico_expires', signature: 'portico_signature' } as const
const cookieName = 'portico-link-'
const secureCookieName = `__Host-${cookieName}`
const encoder = new TextEncoder()
/** By secret. Values, never promises: those belong to the request that made them. */
const keys = new Map<string, CryptoKey>()

/** The signature of a link that ends at this second. */
export async function signLink({ sandbox, port, version }: LinkOf, expires: number, secret: string): Promise<string> {
  let key = keys.get(secret)
  if (key === undefined) {
    key = await subkey(secret, 'portico link 1')
    keys.set(secret, key)
  }
  const signed = encoder.encode(`link.${sandbox}.${port}.${version}.${expires}`)
  return base32(new Uint8Array(await crypto.subtle.sign('HMAC', key, signed)))
}

/** Whether it opens this port now, by any of the secrets that count. */
export async function isGood(of: LinkOf, shown: Shown, now: number, secrets: readonly string[]): Promise<boolean> {
  if (!(shown.expires * 1000 > now)) return false
  for (const secret of secrets) {
    if (sameText(shown.signature, await signLink(of, shown.expires, secret))) return true
  }
  return false
}

/** The URL's part that opens the port. */
export function linkQuery({ expires, signature }: Shown): string {
  return `${names.expires}=${expires}&${names.signature}=${signature}`
}

/** Takes a link's part out of path and query. What is there once or wrongly is there, too: it is `null`. */
export function takeLink(path: string): { path: string; shown: Shown | null | undefined } {
  const mark = path.indexOf('?')
  if (mark < 0 || !path.includes('portico_')) return { path, shown: undefined }
  const pairs = path.slice(mark + 1).split('&')
  const ours = pairs.filter(isOurs)
  if (ours.length === 0) return { path, shown: undefined }
  const kept = pairs.filter((pair) => !isOurs(pair)).join('&')
  const query = new URLSearchParams(ours.join('&'))
  const shown = readShown(query.get(names.expires) ?? '', query.get(names.signature) ?? '')
  return { path: path.slice(0, mark) + (kept === '' ? '' : `?${kept}`), shown: ours.length === 2 ? shown : null }
}

function isOurs(pair: string): boolean {
  return pair.startsWith(`${names.expires}=`) || pair.startsWith(`${names.signature}=`)
}

function readShown(expires: string, signature: string): Shown | null {
  if (!/^\d{1,12}$/.test(expires) || !/^[a-z2-7]{52}$/.test(signature)) return null
  return { expires: Number(expires), signature }
}

/** The header that keeps a link for later requests to the same port. */
export function linkCookie(
  port: number,
  prefix: string,
  { expires, signature }: Shown,
  isSecure: boolean,
  now: number,
) {
  const age = Math.max(1, expires - Math.floor(now / 1000))
  const isWholeHost = prefix === ''
  const name = isSecure && isWholeHost ? secureCookieName : cookieName
  const rest = `Path=${isWholeHost ? '/' : prefix}; Max-Age=${age}; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`
  return `${name}${port}=${expires}.${signature}; ${rest}`
}

/** What cookies show for a port. Another host of the site may have set one of the same name, so each counts. */
export function cookieLinks(header: string | null, port: number): Shown[] {
  if (header === null || !header.includes(cookieName)) return []
  return header.split(';').flatMap((part) => {
    const [name, value = ''] = part.trim().split('=', 2)
    if (name !== `${cookieName}${port}` && name !== `${secureCookieName}${port}`) return []
    const [expires = '', signature = ''] = value.split('.', 2)
    return readShown(expires, signature) ?? []
  })
}

/** Whether `name=value` is a cookie of ours. */
export function isLinkCookie(pair: string): boolean {
  const name = pair.trimStart()
  return name.startsWith(cookieName) || name.startsWith(secureCookieName)
}

/** A `Cookie` header as the app gets it. */
export function withoutLinkCookies(header: string): string {
  if (!header.includes(cookieName)) return header
  return header
    .split(';')
    .filter((part) => !isLinkCookie(part))
    .join(';')
    .trim()
}
