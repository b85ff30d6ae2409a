/**
 * One invocation of a function of the iii surface: a WebSocket of its own, one frame up, the result down. What the platform says of a sandbox function that
 * failed is an EngineError with its S-code.
 */

import { CommandError } from '../command-error.ts'
import type { Connection } from '../connection.ts'

/** A first boot may pull its image before. */
const limitMs = 360_000
const openMs = 20_000

/** Why a function failed. `code` is the S-code, or the engine's own word for it. */
export class EngineError extends CommandError {
  readonly code: string

  constructor(code: string, message: string) {
    super(`${code}: ${message}`)
    this.code = code
  }
}

/** No socket could be opened; why is not for a socket to say. */
export class UnopenedError extends CommandError {}

/** Invokes a function and waits for its result. */
export async function invoke(
  { baseUrl, key }: Connection,
  functionId: string,
  data: object,
  signal?: AbortSignal,
): Promise<unknown> {
  const url = `${baseUrl.replace(/^http/, 'ws').replace(/\/+$/, '')}/iii/${encodeURIComponent(key)}`
  const socket = new WebSocket(url)
  const id = crypto.randomUUID()
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const late = (what: string) => () => reject(new CommandError(`cannot reach ${baseUrl}: ${what}`))
  let timer = setTimeout(late('its iii surface does not answer'), openMs)
  let isOpen = false
  const aborted = () => reject(signal?.reason)
  signal?.addEventListener('abort', aborted, { once: true })
  if (signal?.aborted) aborted()
  socket.addEventListener('open', () => {
    isOpen = true
    clearTimeout(timer)
    timer = setTimeout(late(`${functionId} does not end`), limitMs)
    socket.send(JSON.stringify({ type: 'invokefunction', invocation_id: id, function_id: functionId, data }))
  })
  socket.addEventListener('message', ({ data: text }) => {
    const frame = frameOf(text)
    if (frame.type !== 'invocationresult' || frame.invocation_id !== id) return
    if (frame.error) reject(engineError(frame.error))
    else resolve(frame.result)
  })
  socket.addEventListener('close', () => {
    if (!isOpen) reject(new UnopenedError(`cannot reach ${baseUrl}: it does not take a socket for the iii surface`))
    else
      reject(new CommandError(`cannot finish ${functionId}: the connection broke`, 'Whether it was done is not known.'))
  })
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', aborted)
    socket.close()
  }
}

interface Frame {
  readonly type?: unknown
  readonly invocation_id?: unknown
  readonly result?: unknown
  readonly error?: unknown
}

function frameOf(text: unknown): Frame {
  const value = parsed(String(text))
  return typeof value === 'object' && value !== null ? value : {}
}

/** The S-code is in an envelope, a line of JSON in the message. */
function engineError(error: unknown): EngineError {
  const { code, message } = (typeof error === 'object' ? error : { message: error }) as Record<string, unknown>
  const text = typeof message === 'string' ? message : 'no reason is given'
  const envelope = parsed(/\{.*\}/.exec(text)?.[0] ?? '')
  if (typeof envelope === 'object' && envelope !== null && 'code' in envelope && 'message' in envelope)
    return new EngineError(String(envelope.code), String(envelope.message))
  return new EngineError(typeof code === 'string' ? code : 'error', text)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
