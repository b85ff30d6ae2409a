/**
 * An app's headers as the caller gets them: end to end ones only, nothing that would reach beyond the app's own host or path, and nothing
 * that the platform itself would say. Pure.
 */

import type { HeaderList } from '@portico/shared/control'
import { isLinkCookie } from './links.ts'

export interface ResponseRules {
  /** What stands before the app's path on this host. */
  readonly prefix: string
  /** The host is the API's: what the app sends is of no origin there. */
  readonly sandboxed: boolean
}

const dropped: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-protocol',
  // These reach beyond the host that sends them: to other hosts of the same site, or to where later requests go.
  'clear-site-data',
  'alt-svc',
  'public-key-pins',
])
/** What a browser would keep for the API's own host. */
const droppedOnApi: ReadonlySet<string> = new Set([
  'strict-transport-security',
  'service-worker-allowed',
  'nel',
  'report-to',
  'reporting-endpoints',
  'origin-agent-cluster',
  'set-login',
  'refresh',
])
const sandboxPolicy = 'sandbox'

/** Headers for a `Response`; a line that is none is left out. */
export function responseHeaders(list: HeaderList, { prefix, sandboxed }: ResponseRules): Headers {
  const headers = new Headers()
  const named = new Set(list.flatMap(([name, value]) => (name === 'connection' ? tokens(value) : [])))
  for (const [name, value] of list) {
    if (dropped.has(name) || named.has(name) || name.startsWith('x-portico-')) continue
    if (sandboxed && droppedOnApi.has(name)) continue
    const kept = rewritten(name, value, prefix)
    if (kept !== undefined) append(headers, name, kept)
  }
  if (sandboxed) headers.append('content-security-policy', sandboxPolicy)
  return headers
}

function rewritten(name: string, value: string, prefix: string): string | undefined {
  switch (name) {
    case 'set-cookie':
      return hostCookie(value, prefix)
    case 'location':
      return underPrefix(value, prefix)
    default:
      return value
  }
}

/** Of this host alone, and under its prefix; undefined for one that would pass for the platform's. */
function hostCookie(value: string, prefix: string): string | undefined {
  const [pair = '', ...attributes] = value.split(';')
  if (isLinkCookie(pair)) return undefined
  const kept = attributes.flatMap((attribute) => {
    const [, name = '', content = ''] = /^\s*([^=]*?)\s*(?:=\s*(.*?)\s*)?$/s.exec(attribute) ?? []
    if (name.toLowerCase() === 'domain') return []
    return name.toLowerCase() === 'path' && content.startsWith('/')
      ? [` Path=${underPrefix(content, prefix)}`]
      : [attribute]
  })
  return [pair, ...kept].join(';')
}

/** A path of the app as a path of the host. One that has the prefix already was made by an app that knows of it. */
function underPrefix(path: string, prefix: string): string {
  if (prefix === '' || !path.startsWith('/') || path.startsWith('//')) return path
  return path === prefix || path.startsWith(`${prefix}/`) ? path : prefix + path
}

function tokens(value: string): string[] {
  return value
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function append(headers: Headers, name: string, value: string): void {
  if (/[\r\n\0]/.test(value)) return
  try {
    headers.append(name, asText(value))
  } catch {
    // It is no header.
  }
}

/** The runner gives one character per byte; what is UTF-8 in truth is sent as the same bytes again. */
function asText(value: string): string {
  if (!/[\u0080-\u00ff]/.test(value)) return value
  try {
    return decoder.decode(Uint8Array.from(value, (char) => char.charCodeAt(0)))
  } catch {
    return value
  }
}
