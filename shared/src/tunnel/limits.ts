/** Every maximum of the protocol, with its reason. The page `docs/protocol.md` states the same numbers. */

import { firstExtension, frameType } from './frame.ts'

/** Type, length and stream id. */
export const headerLength = 8

/** A HELLO is a handful of fields; this leaves room for later generations. */
export const maxHello = 4096

/** A head may carry a request's headers, which the usual servers cap at 16 to 64 KiB. */
export const maxHead = 65_536

/** Small enough that one stream's frame does not hold up another's for long, large enough that its header costs nothing. */
export const maxData = 65_536

/** A code and one line. */
export const maxError = 1024

export const creditLength = 4

/** The random bytes that name one pause of one session. */
export const markLength = 16
export const pingLength = 8

/** What a receiver skips without knowing it. */
export const maxExtension = 65_536

/** A WebSocket message: the least of the usual platforms' limits. */
export const maxMessage = 1_048_576

/** Ids are positive in languages without unsigned numbers. */
export const highestStreamId = 0x7fff_ffff

/** Credit of one stream fits a signed 32-bit number. */
export const maxCredit = 0x7fff_ffff

/** Below this a stream waits more than it sends. */
export const minWindow = 16_384

/** What a side may have to hold for one stream. */
export const maxWindow = 4_194_304

/** The window that our sides grant: 4 frames of the greatest length. */
export const defaultWindow = 262_144

/** Streams that one opener may have open at once: with `defaultWindow` this bounds what a connection can hold to 256 MiB. */
export const maxStreams = 1024

/** How long a connection may be without the peer's HELLO. */
export const helloLimitMs = 10_000

/** Silence after which a side asks with PING (or the text `ping`). */
export const pingIdleMs = 15_000

/** Silence after that which ends the connection. */
export const pingLimitMs = 10_000

/** What either side throws away before it finds the mark of a new session on a byte stream. */
export const maxDiscarded = 4_194_304

/** The random bytes of a preamble. */
export const nonceLength = 8

/**
 * A frame in progress swallows 65,539 bytes of a flush at most: 3 that its stream id lacked (more would make it an id that nobody takes) and 65,536 of payload. The 8 that
 * follow are a header which no receiver takes.
 */
export const flushLength = 65_552

/** The most of a flush that an agent sees while it waits, if the flush ended a session before: a longer run was the whole of one. */
export const restOfFlush = flushLength - 8

/** How long a runner waits for a preamble before it sends a flush. */
export const preambleWaitMs = 250

/** Frames other than DATA that wait for a carrier which takes no more: then the peer does not read, and the connection ends. */
export const maxBacklog = 1_048_576

/** The greatest payload of a frame type, or undefined for a type that no generation knows. */
export function maxPayload(type: number): number | undefined {
  if (type >= firstExtension) return maxExtension
  switch (type) {
    case frameType.data:
      return maxData
    case frameType.open:
      return maxHead
    case frameType.credit:
      return creditLength
    case frameType.end:
      return 0
    case frameType.reset:
    case frameType.goaway:
      return maxError
    case frameType.ping:
    case frameType.pong:
      return pingLength
    case frameType.hello:
      return maxHello
    case frameType.pause:
      return markLength
    case frameType.paused:
      return 0
    default:
      return undefined
  }
}

/** The smallest payload of a frame type. */
export function minPayload(type: number): number {
  switch (type) {
    case frameType.data:
      return 1
    case frameType.credit:
      return creditLength
    case frameType.ping:
    case frameType.pong:
      return pingLength
    case frameType.pause:
      return markLength
    default:
      return 0
  }
}
