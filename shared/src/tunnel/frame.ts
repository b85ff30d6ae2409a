/** Frames as `docs/protocol.md` tells them: an 8-byte header (type, 24-bit length, 32-bit stream id, all big-endian) and a payload. */

/** The generation that runner and agent speak. Frame types and header never change from one generation to the next. */
export const generation = 1

/** The generation that edge and runner speak. */
export const tunnelGeneration = 2

/** The oldest generation that this side still speaks. */
export const oldestGeneration = 1

export const frameType = {
  /** Who I am; the first frame in each direction. */
  hello: 0x00,
  /** From the opener: starts the stream. From the acceptor: its answer's head. */
  open: 0x01,
  /** Bytes, in order. */
  data: 0x02,
  /** No more bytes from this side. */
  end: 0x03,
  /** Both directions are over, now. */
  reset: 0x04,
  /** The reader has room for so many more bytes. */
  credit: 0x05,
  /** Answer with PONG. */
  ping: 0x06,
  /** The 8 bytes of the PING. */
  pong: 0x07,
  /** I accept no new streams; those that are open may finish. */
  goaway: 0x08,
  /** Send PAUSED as your last frame on this carrier: the session goes on over another one. */
  pause: 0x09,
  /** That was my last frame on this carrier. */
  paused: 0x0a,
} as const

/** Types from here to 0xff are extensions: who does not know one skips it. */
export const firstExtension = 0x80

/** One frame, whole. */
export interface Frame {
  readonly type: number
  readonly stream: number
  readonly payload: Uint8Array
}
