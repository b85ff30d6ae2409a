/** What a request has to be before anything of it is read: Connect's unary protocol, in JSON and without compression. */

import { Refusal } from '../middleware/refusal.ts'

/** Throws Connect's own answers. Another method than POST is refused by its row. */
export function assertConnect({ headers, method }: Request): void {
  if (method !== 'POST') return
  const [type = ''] = (headers.get('content-type') ?? '').split(';')
  if (type.trim().toLowerCase() !== 'application/json') {
    const why = 'cannot read the request: its content type is not application/json'
    throw new Refusal('invalid_request', why, { headers: { 'accept-post': 'application/json' }, status: 415 })
  }
  const coding = headers.get('content-encoding')
  if (coding !== null && coding !== 'identity') {
    const why = 'cannot read the request: compression is not supported; send it as identity'
    throw new Refusal('unsupported', why, { headers: { 'accept-encoding': 'identity' } })
  }
  const version = headers.get('connect-protocol-version')
  if (version !== null && version !== '1') {
    throw new Refusal('invalid_request', 'cannot read the request: Connect-Protocol-Version is not 1', { headers: {} })
  }
}
