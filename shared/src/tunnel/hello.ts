/** Payloads that are JSON: HELLO, and the errors of RESET and GOAWAY. Read by hand, as they are small and a connection starts with them. */

import { AppError, type ErrorCode, isErrorCode, type WireError } from '../errors.ts'
import { readU32 } from './encode.ts'
import { frameType, oldestGeneration } from './frame.ts'
import { headerLength, markLength, maxError, maxHello, maxWindow, minWindow } from './limits.ts'
import type { Hello, Role } from './types.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const roles: readonly Role[] = ['edge', 'runner', 'agent']

/** The JSON of a payload, as an object. */
function parseObject(payload: Uint8Array, what: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(payload))
  } catch (cause) {
    throw new AppError('protocol_error', `cannot read ${what}: it is not JSON`, { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new AppError('protocol_error', `cannot read ${what}: it is not an object`)
  return value as Record<string, unknown>
}

/** The payload of a HELLO. Throws if this side's own numbers are out of range. */
export function encodeHello(hello: Hello): Uint8Array {
  const payload = encoder.encode(JSON.stringify(hello))
  parseHello(payload)
  if (payload.length > maxHello) throw new AppError('internal', `cannot say hello: it is longer than ${maxHello} bytes`)
  return payload
}

/** The peer's HELLO without what this generation does not know. */
export function parseHello(payload: Uint8Array): Hello {
  const { generation, role, window, paused, resume } = parseObject(payload, "the peer's hello")
  const known = roles.find((one) => one === role)
  if (!Number.isSafeInteger(generation) || (generation as number) < 0)
    throw new AppError('protocol_error', "cannot read the peer's hello: generation is no whole number")
  if (!known) throw new AppError('protocol_error', "cannot read the peer's hello: role is none of edge, runner, agent")
  if (!Number.isSafeInteger(window) || (window as number) < minWindow || (window as number) > maxWindow)
    throw new AppError('protocol_error', `cannot read the peer's hello: window is not ${minWindow} to ${maxWindow}`)
  return { generation: generation as number, role: known, window: window as number, ...marks({ paused, resume }) }
}

/** Takes the HELLO off the bytes that begin with it, once they hold it whole. Throws if they begin with anything else. */
export function takeHello(bytes: Uint8Array): { readonly hello: Hello; readonly rest: Uint8Array } | undefined {
  if (bytes.length < headerLength) return undefined
  const length = readU32(bytes, 0) & 0xff_ffff
  if (bytes[0] !== frameType.hello || readU32(bytes, 4) !== 0 || length > maxHello)
    throw new AppError('protocol_error', 'cannot start the connection: the first frame is no hello')
  const end = headerLength + length
  if (bytes.length < end) return undefined
  return { hello: parseHello(bytes.subarray(headerLength, end)), rest: bytes.subarray(end) }
}

const markText = new RegExp(`^[0-9a-f]{${2 * markLength}}$`)

/** Those of the marks that are there. */
function marks(all: { readonly [name: string]: unknown }): Pick<Hello, 'paused' | 'resume'> {
  const known = Object.entries(all).filter(([, mark]) => mark !== undefined)
  if (known.every(([, mark]) => typeof mark === 'string' && markText.test(mark))) return Object.fromEntries(known)
  throw new AppError('protocol_error', `cannot read the peer's hello: a mark is not ${2 * markLength} digits`)
}

/** A new name for one pause of one session. */
export function newMark(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(markLength))
}

/** A mark as it stands in a HELLO. */
export function markName(mark: Uint8Array): string {
  return Array.from(mark, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** The error to end with if the peer speaks only generations that this side has given up. */
export function versionError(peer: Hello): AppError | undefined {
  if (peer.generation >= oldestGeneration) return undefined
  const why = `the peer speaks generation ${peer.generation}, this side ${oldestGeneration} and later`
  return new AppError('version_unsupported', `cannot talk to the peer: ${why}`)
}

/** The payload of a RESET or GOAWAY; a message that is too long is cut. */
export function encodeError(error: WireError): Uint8Array {
  let { message } = error
  for (;;) {
    const payload = encoder.encode(JSON.stringify({ code: error.code, message }))
    if (payload.length <= maxError) return payload
    message = `${message.slice(0, Math.floor(message.length * 0.8))}…`
  }
}

/** The error of a RESET or GOAWAY. A code that this side does not know (a later generation's) reads as `internal`. */
export function parseError(payload: Uint8Array, what: string): WireError {
  const { code, message } = parseObject(payload, what)
  if (typeof code !== 'string' || typeof message !== 'string')
    throw new AppError('protocol_error', `cannot read ${what}: it has no code and message`)
  const known: ErrorCode = isErrorCode(code) ? code : 'internal'
  return { code: known, message: AppError.fromWire({ code: known, message }).message }
}
