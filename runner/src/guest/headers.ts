/** Which headers cross the guest hop. What belongs to one connection stays on it. */

import { AppError } from '@portico/shared/errors'
import { tokenHeader } from '@portico/shared/guest'

const hopByHop = new Set([
  'connection',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  tokenHeader,
  'trailer',
  'transfer-encoding',
  'upgrade',
])

const token = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/

/** A caller's headers as they go to the guest. Throws on what HTTP cannot carry. */
export function requestHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (!token.test(name) || !fieldValue.test(value))
      throw new AppError('invalid_request', 'cannot send the request to the sandbox: a header is malformed')
    if (!hopByHop.has(name.toLowerCase())) kept[name.toLowerCase()] = value
  }
  return kept
}

/** The headers of a guest's answer, from Node's flat list of names and values; repeated ones are joined. */
export function responseHeaders(raw: readonly string[]): Record<string, string> {
  const dropped = new Set(hopByHop)
  const pairs: [string, string][] = []
  for (let index = 0; index + 1 < raw.length; index += 2)
    pairs.push([(raw[index] as string).toLowerCase(), raw[index + 1] as string])
  for (const [name, value] of pairs)
    if (name === 'connection') for (const listed of value.split(',')) dropped.add(listed.trim().toLowerCase())
  const kept: Record<string, string> = Object.create(null) as Record<string, string>
  for (const [name, value] of pairs) {
    if (dropped.has(name)) continue
    kept[name] = name in kept ? `${kept[name]}, ${value}` : value
  }
  return { ...kept }
}
