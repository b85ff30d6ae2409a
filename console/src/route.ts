/**
 * Where the page is, as its address says behind `#`:
 *
 *   #/                            the sandboxes
 *   #/s/{run}/{tab}[/{console}]   one sandbox
 *   #/usage                       the account
 *   #/c/{run}/{console}?token=    a console, for whoever was given this link
 */

export const tabs = ['terminal', 'files', 'ports', 'usage', 'audit'] as const
export type Tab = (typeof tabs)[number]

export type Route =
  | { readonly name: 'list' }
  | { readonly name: 'account' }
  | { readonly name: 'sandbox'; readonly run: string; readonly tab: Tab; readonly console?: string }
  | { readonly name: 'link'; readonly run: string; readonly console: string; readonly token: string }
  | { readonly name: 'unknown' }

/** Reads what stands behind `#`. */
export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#/, '').split('?', 2)
  const [first, second, third, fourth, ...more] = path.split('/').filter(Boolean).map(decoded)
  if (more.length > 0) return { name: 'unknown' }
  if (first === undefined) return { name: 'list' }
  if (first === 'usage' && second === undefined) return { name: 'account' }
  if (first === 's' && second !== undefined) {
    const tab = tabs.find((one) => one === (third ?? 'terminal'))
    if (tab === undefined || (fourth !== undefined && tab !== 'terminal')) return { name: 'unknown' }
    return { name: 'sandbox', run: second, tab, ...(fourth === undefined ? {} : { console: fourth }) }
  }
  const token = new URLSearchParams(query).get('token')
  if (first === 'c' && second !== undefined && third !== undefined && fourth === undefined && token !== null)
    return { name: 'link', run: second, console: third, token }
  return { name: 'unknown' }
}

/** The address of a sandbox's tab. */
export function sandboxHash(run: string, tab: Tab = 'terminal', console?: string): string {
  return `#/${['s', run, tab, ...(console === undefined ? [] : [console])].map(encodeURIComponent).join('/')}`
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
