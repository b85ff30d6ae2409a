/** Bodies on a stream of the tunnel: a caller's on its way up, and an answer's where it is small. */

import type { Clock } from '@portico/shared/clock'
import type { TunnelStream } from '@portico/shared/tunnel'
import { drop, dropped, pieces } from '../body.ts'
import { unsealed } from '../guest/sealed-body.ts'

/** Up to here an answer of known length is passed on in one piece, which costs a fraction of streaming it. */
export const small = 65_536
/** Statuses that have no body. */
export const bodiless: readonly number[] = [204, 205, 304]

/** Sends a body that is here already, and the end. */
export function sendWhole(stream: TunnelStream, body: Uint8Array): void {
  // What goes wrong with it is told by the answer.
  if (body.length > 0) stream.write(body).catch(() => undefined)
  stream.end()
}

/** Sends a caller's body at the pace of its reader; `moved` is called after each piece. Never rejects. */
export async function sendPieces(
  stream: TunnelStream,
  body: ReadableStream,
  moved: () => void,
  sealed = false,
): Promise<void> {
  try {
    for await (const piece of sealed ? unsealed(pieces(body)) : pieces(body)) {
      await stream.write(piece)
      moved()
    }
    stream.end()
  } catch {
    // Either the caller's body broke off, and half a body must not look like a whole one, or the stream is over and the caller still sends.
    stream.reset({ code: 'cancelled', message: 'cannot send the body: the caller went away' })
    await drop(body)
  }
}

/** Waits, within a bound, until the caller has sent what it had to send. */
export async function uploaded(upload: Promise<void> | undefined, clock: Clock): Promise<void> {
  if (upload === undefined) return
  const late = Promise.withResolvers<void>()
  const stop = clock.after(dropped.ms, () => late.resolve())
  await Promise.race([upload, late.promise])
  stop()
}

/** What a `content-length` says, if it says it rightly. */
export function lengthOf(text: string | null | undefined): number | undefined {
  return /^\d{1,15}$/.test(text ?? '') ? Number(text) : undefined
}

/** The parts in one piece. */
export function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
