/** What a caller who asks for output may say in the query and in headers. */

import { AppError } from '@portico/shared/errors'
import type { Encoding } from './as-events.ts'

export const processIdPattern = /^[A-Za-z0-9_-]{1,64}$/
/** A caller who reads slowly may take so long for one piece: the process waits, or a gap is told. */
export const holderPatienceMs = 3_600_000

export interface OutputQuery {
  readonly from: number
  readonly follow: boolean
  readonly hold: boolean
  /** Undefined: records. */
  readonly events: Encoding | undefined
}

/** Of `GET …/output`. A browser that comes back says in a header where it stood; its URL says where it began. */
export function outputQuery(query: URLSearchParams, headers: Headers): OutputQuery {
  const last = headers.get('last-event-id')
  const asksForEvents = last !== null || (headers.get('accept') ?? '').toLowerCase().includes('text/event-stream')
  const encoding = encodingOf(query)
  return {
    from: wholeNumber(last ?? query.get('from') ?? '0', last === null ? 'from' : 'Last-Event-ID'),
    follow: flagOf(query, 'follow', true),
    hold: flagOf(query, 'hold', false),
    events: asksForEvents ? encoding : undefined,
  }
}

export function encodingOf(query: URLSearchParams): Encoding {
  const encoding = query.get('encoding') ?? 'text'
  if (encoding === 'text' || encoding === 'base64') return encoding
  throw new AppError('invalid_request', 'cannot use the encoding: it is text or base64')
}

export function flagOf(query: URLSearchParams, name: string, usual: boolean): boolean {
  const given = query.get(name)
  if (given === null) return usual
  if (given === 'true' || given === '1') return true
  if (given === 'false' || given === '0') return false
  throw new AppError('invalid_request', `cannot use ${name}: it is true or false`)
}

/** A whole number that any JavaScript holds exactly. */
export function wholeNumber(text: string, name: string): number {
  const number = Number(text)
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(number)) return number
  throw new AppError('invalid_request', `cannot use ${name}: it is a whole number`)
}
