/** How a connection ended, for both ends of it: one pure function over what the platforms tell, structured fields first. */

import { AppError } from '../errors.ts'

/**
 * `own`: this side closed it. `benign`: the peer closed it in order and may come back. `gone`: the peer or the network vanished.
 * `fault`: one side broke the protocol; coming back at once would do it again.
 */
export type ConnectionEnd = 'own' | 'benign' | 'gone' | 'fault'

export interface EndFacts {
  /** Whether this side had begun to close it. */
  readonly own?: boolean
  /** The WebSocket close code, if there was one. */
  readonly code?: number
  /** What the platform threw or emitted, if anything. */
  readonly error?: unknown
}

/** Close codes by which a peer says that frames or messages were wrong: 1002, 1003, 1007 to 1010. */
const faultCodes = new Set([1002, 1003, 1007, 1008, 1009, 1010])
/** Normal, going away, and closed without a code. */
const benignCodes = new Set([1000, 1001, 1005])

/** Tells the endings apart. What nothing is known about counts as `gone`. */
export function howItEnded({ own = false, code, error }: EndFacts): ConnectionEnd {
  if (isFault(error)) return 'fault'
  if (own) return 'own'
  if (code !== undefined && faultCodes.has(code)) return 'fault'
  if (error !== undefined) return 'gone'
  return code !== undefined && benignCodes.has(code) ? 'benign' : 'gone'
}

/** Our own protocol faults, and those that a WebSocket library finds (`WS_ERR_…`). */
function isFault(error: unknown): boolean {
  if (error instanceof AppError) return error.code === 'protocol_error' || error.code === 'version_unsupported'
  if (typeof error !== 'object' || error === null || !('code' in error)) return false
  return typeof error.code === 'string' && error.code.startsWith('WS_ERR_')
}

/** A close frame's reason holds at most 123 bytes. */
const maxReason = 123

/** The WebSocket close code and reason with which a side ends a connection: 1000 for a planned end, 1002 for a fault, 1011 for anything else. */
export function closeFrame(error: AppError | undefined): { readonly code: number; readonly reason: string } {
  if (!error) return { code: 1000, reason: '' }
  let reason = `${error.code}: ${error.message}`
  while (new TextEncoder().encode(reason).length > maxReason) reason = reason.slice(0, -1)
  return { code: isFault(error) ? 1002 : 1011, reason }
}
