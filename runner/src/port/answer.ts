/** A server's answer on its way to the edge: its head as the stream's, its body as it comes, at the pace of the stream's reader. */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { AppError } from '@portico/shared/errors'
import { answer, type TunnelStream } from '@portico/shared/tunnel'
import { serverFault, unusable } from './faults.ts'

/** Bytes of an answer that may wait for the stream's credit before its server waits. */
const mostWaiting = 256 * 1024

/**
 * Answers the stream with `head` and sends the body and END; resolves when the last of it was read from the server. Rejects with what went wrong, having
 * reset the stream if it was answered.
 */
export function passOn(response: IncomingMessage, stream: TunnelStream, head: object, duplex: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    let waiting = 0
    let begun = false
    const begin = () => {
      if (begun) return
      begun = true
      try {
        answer(stream, head)
      } catch (error) {
        begun = false
        fail(error)
      }
    }
    const fail = (cause: unknown) => {
      const error = AppError.from(serverFault(cause, duplex))
      if (begun) stream.reset(error.toWire())
      begun = true
      response.destroy()
      reject(error)
    }
    response.on('data', (bytes: Buffer) => {
      begin()
      waiting += bytes.length
      const { length } = bytes
      stream.write(bytes).then(() => {
        waiting -= length
        if (waiting < mostWaiting / 2 && response.isPaused()) response.resume()
      }, fail)
      if (waiting >= mostWaiting) response.pause()
    })
    response.on('end', () => {
      begin()
      stream.end()
      resolve()
    })
    response.on('error', fail)
    response.on('close', () => (response.complete ? undefined : fail(unusable('it ended early'))))
    // After what has come with the head, so that a short answer leaves in one piece; a head alone leaves at once.
    process.nextTick(begin)
  })
}
