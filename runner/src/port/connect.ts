/**
 * A connection to a server in the guest, on one stream of the guest's channel: the agent's `POST /tcp`, upgraded, so that after two heads the stream's
 * bytes are the connection's own, each direction with its own end. What the guest answers is hostile: nothing of its text goes further than here.
 */

import type { Duplex } from 'node:stream'
import { AppError } from '@portico/shared/errors'
import { guestError, tokenHeader } from '@portico/shared/guest'
import { resetOnAbort, type TunnelStream } from '@portico/shared/tunnel'
import { StreamDuplex } from '../guest/stream-duplex.ts'

export interface PortTarget {
  readonly port: number
  /** Ends the attempt; a connection that was made lives on. */
  readonly signal: AbortSignal
  /** Shows the agent that the request is for its machine. */
  readonly token: string | undefined
  /** Whether the session still stands: if so, what ends the stream was the guest's doing. */
  readonly connected: () => boolean
}

const maxHead = 16 * 1024
const headEnd = '\r\n\r\n'

/** Opens the connection on `stream`, which it owns from here on. Rejects with `port_closed` if nothing listens. */
export async function connectPort(stream: TunnelStream, target: PortTarget): Promise<Duplex> {
  const unbind = resetOnAbort(stream, target.signal)
  const translate = (error: AppError) => (target.connected() ? brokenOff(error) : error)
  try {
    stream.write(Buffer.from(requestHead(target), 'latin1')).catch(() => undefined)
    const { status, rest } = await answerOf(stream)
    if (status !== 101) throw await refusal(stream, rest, status, target.port)
    const duplex = new StreamDuplex(stream, translate)
    // Who still uses it is told by its reading or writing; after that a late failure concerns nobody.
    duplex.on('error', () => undefined)
    // A connection that nobody reads from right now breaks off all the same.
    void stream.done.then((error) => error && duplex.destroy(translate(error)))
    if (rest.length > 0) duplex.unshift(rest)
    return duplex
  } catch (thrown) {
    const error = AppError.from(thrown)
    stream.reset(error.toWire())
    target.signal.throwIfAborted()
    throw error
  } finally {
    unbind()
  }
}

function requestHead({ port, token }: PortTarget): string {
  const own = token === undefined ? '' : `${tokenHeader}: ${token}\r\n`
  return `POST /tcp?port=${port} HTTP/1.1\r\nhost: guest\r\n${own}connection: upgrade\r\nupgrade: portico-tcp\r\n\r\n`
}

async function answerOf(stream: TunnelStream): Promise<{ status: number; rest: Buffer }> {
  let head = Buffer.alloc(0)
  for (;;) {
    const bytes = await stream.read()
    if (!bytes) throw malformed('it gave no answer')
    head = Buffer.concat([head, bytes])
    const end = head.indexOf(headEnd)
    if (end >= 0) {
      const status = /^HTTP\/1\.1 ([1-5]\d\d) /.exec(head.toString('latin1', 0, Math.min(end, 64)))?.[1]
      if (status === undefined) throw malformed('it is not HTTP')
      return { status: Number(status), rest: head.subarray(end + headEnd.length) }
    }
    if (head.length > maxHead) throw malformed('its head is too long')
  }
}

/** Why the agent made no connection. */
async function refusal(stream: TunnelStream, first: Buffer, status: number, port: number): Promise<AppError> {
  if (status < 300)
    return new AppError('unsupported', 'cannot reach the port: the sandbox was saved by a release that cannot do that')
  let text = first
  for (let bytes = await stream.read(); bytes && text.length < maxHead; bytes = await stream.read())
    text = Buffer.concat([text, bytes])
  const told = guestError.safeParse(parsed(text))
  if (told.success && told.data.error.code === 'port_closed')
    return new AppError('port_closed', `cannot reach port ${port}: nothing listens on it in the sandbox`)
  return malformed(`its status is ${status}`)
}

function parsed(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString('utf8'))
  } catch {
    return undefined
  }
}

function brokenOff(cause: AppError): AppError {
  return new AppError('guest_error', 'cannot go on with the connection: the server in the sandbox broke it off', {
    cause,
  })
}

function malformed(why: string): AppError {
  return new AppError('guest_error', `cannot use the answer of the sandbox's agent: ${why}`)
}
