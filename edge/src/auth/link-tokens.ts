/**
 * Links to a console: a token that opens one console of one sandbox, to read or to write, until a time. Nothing is stored of it; it ends with its
 * time, with its console, or when the platform's secret is replaced.
 *
 *   portico_link_<base64 of the JSON, with - and . for + and />_<HMAC-SHA256 of that, in base32>
 */

import { base32 } from '@portico/shared/ids'
import { z } from 'zod'
import { sameText } from './tokens.ts'

const linkScope = z.object({
  account: z.string(),
  region: z.string(),
  run: z.string(),
  console: z.string(),
  access: z.enum(['read', 'write']),
  /** Milliseconds. */
  until: z.number(),
})
export type LinkScope = z.infer<typeof linkScope>

const form = /^portico_link_([A-Za-z0-9.-]{1,1024})_([a-z2-7]{52})$/
const encoder = new TextEncoder()

/** Whether a text means to be a link's token, so that it is not tried as a key. */
export function isLinkToken(text: string): boolean {
  return text.startsWith('portico_link_')
}

export async function makeLinkToken(secret: string, scope: LinkScope): Promise<string> {
  const content = urlSafe(JSON.stringify(scope))
  return `portico_link_${content}_${await seal(secret, content)}`
}

/** What the token opens, if one of the secrets made it and its time is not over. */
export async function readLinkToken(
  secrets: readonly string[],
  text: string,
  now: number,
): Promise<LinkScope | undefined> {
  const [, content = '', mac = ''] = form.exec(text) ?? []
  if (content === '') return undefined
  for (const secret of secrets) {
    if (!sameText(mac, await seal(secret, content))) continue
    const parsed = linkScope.safeParse(JSON.parse(atob(content.replaceAll('-', '+').replaceAll('.', '/'))))
    return parsed.success && now < parsed.data.until ? parsed.data : undefined
  }
  return undefined
}

async function seal(secret: string, content: string): Promise<string> {
  const root = await crypto.subtle.importKey('raw', encoder.encode(secret), 'HKDF', false, ['deriveKey'])
  const info = encoder.encode('portico console link 1')
  const derivation = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info }
  const key = await crypto.subtle.deriveKey(derivation, root, { name: 'HMAC', hash: 'SHA-256', length: 256 }, false, [
    'sign',
  ])
  return base32(new Uint8Array(await crypto.subtle.sign('HMAC', key, encoder.encode(content))))
}

/** Of JSON of ids and numbers, none of which is beyond ASCII. */
function urlSafe(text: string): string {
  return btoa(text).replaceAll('+', '-').replaceAll('/', '.').replaceAll('=', '')
}
