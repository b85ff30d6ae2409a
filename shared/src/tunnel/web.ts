/** Streams of the protocol as streams of the web, with back-pressure, end and failure carried across both ways. */

import { AppError } from '../errors.ts'
import type { TunnelStream } from './types.ts'

const ignore = () => undefined

/** What the peer sends, read from the stream only as fast as it is read here. Cancelling resets the stream. */
export function readable(stream: TunnelStream): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const bytes = await stream.read()
        if (bytes) controller.enqueue(bytes)
        else controller.close()
      },
      cancel() {
        stream.reset({ code: 'cancelled', message: 'cannot send more: the reader went away' })
      },
    },
    { highWaterMark: 0 },
  )
}

/** All that the peer sends, up to a limit in bytes; more resets the stream. Rejects with the stream's error if that comes before the end. */
export async function readWhole(stream: TunnelStream, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for (let bytes = await stream.read(); bytes; bytes = await stream.read()) {
    length += bytes.length
    if (length > limit) {
      const error = new AppError('payload_too_large', `cannot read the body: it has more than ${limit} bytes`)
      stream.reset(error)
      throw error
    }
    chunks.push(bytes)
  }
  const whole = new Uint8Array(length)
  let at = 0
  for (const bytes of chunks) {
    whole.set(bytes, at)
    at += bytes.length
  }
  return whole
}

/**
 * Sends all of `source` and then END. If the source fails or the signal aborts, the stream is reset; if the stream ends first, the source is
 * cancelled. Rejects in these cases.
 */
export async function pump(
  source: ReadableStream<Uint8Array>,
  stream: TunnelStream,
  signal?: AbortSignal,
): Promise<void> {
  const reader = source.getReader()
  const unbind = signal ? resetOnAbort(stream, signal) : ignore
  let lost: AppError | undefined
  void stream.done.then((error) => {
    lost = error
    if (error) reader.cancel(error).catch(ignore)
  })
  try {
    for (let bytes = await next(reader); bytes; bytes = await next(reader)) await stream.write(bytes)
    if (lost) throw lost
    stream.end()
  } catch (cause) {
    const error = cause instanceof AppError ? cause : sourceFailed(cause)
    stream.reset(error)
    reader.cancel(error).catch(ignore)
    throw error
  } finally {
    unbind()
  }
}

/** Resets the stream when the signal aborts, for as long as the stream lives or until the answer is called. */
export function resetOnAbort(stream: TunnelStream, signal: AbortSignal): () => void {
  const onAbort = () => stream.reset(abortError(signal))
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  const unbind = () => signal.removeEventListener('abort', onAbort)
  void stream.done.then(unbind)
  return unbind
}

/** Why a signal aborted, as an error of the table: its own reason if that is one, else `cancelled`. */
export function abortError(signal: AbortSignal): AppError {
  const { reason } = signal
  if (reason instanceof AppError) return reason
  return new AppError('cancelled', 'cannot finish the call: the caller went away', { cause: reason })
}

async function next(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | undefined> {
  const { done, value } = await reader.read()
  if (done) return undefined
  if (value instanceof Uint8Array) return value
  throw new TypeError('a body must be made of bytes')
}

function sourceFailed(cause: unknown): AppError {
  return new AppError('cancelled', 'cannot send the body: its source failed', { cause })
}
