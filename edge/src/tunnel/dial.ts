/** What a runner says of a tunnel socket when it dials: which session it belongs to, and which of the session's sockets it is. Pure. */

import { AppError } from '@portico/shared/errors'

export const dialHeaders = ['portico-session', 'portico-socket'] as const

export interface Dial {
  /** One per runner process; null before generation 2, where a socket is a session of its own. */
  readonly session: string | null
  /** From 0. */
  readonly index: number
}

export const mostSockets = 8

/** Reads the upgrade's headers. */
export function readDial(headers: Headers): Dial {
  const session = headers.get('portico-session')
  if (session === null) return { session: null, index: 0 }
  const [, index, count] = /^([0-9])\/([1-9])$/.exec(headers.get('portico-socket') ?? '') ?? []
  if (!/^[a-z2-7]{26}$/.test(session) || Number(count) > mostSockets || !(Number(index) < Number(count))) {
    const why = `Portico-Session is 26 characters of base32, Portico-Socket is index/count up to ${mostSockets}`
    throw new AppError('invalid_request', `cannot open the tunnel: ${why}`)
  }
  return { session, index: Number(index) }
}
