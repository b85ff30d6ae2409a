/** Frames to bytes. Whoever calls has checked the limits; nothing here allocates but `encode`. */

import type { Frame } from './frame.ts'
import { headerLength } from './limits.ts'

/** Writes a frame's header at `offset`. */
export function writeHeader(into: Uint8Array, offset: number, type: number, length: number, stream: number): void {
  into[offset] = type
  into[offset + 1] = length >>> 16
  into[offset + 2] = length >>> 8
  into[offset + 3] = length
  writeU32(into, offset + 4, stream)
}

/** Writes an unsigned 32-bit number at `offset`. */
export function writeU32(into: Uint8Array, offset: number, value: number): void {
  into[offset] = value >>> 24
  into[offset + 1] = value >>> 16
  into[offset + 2] = value >>> 8
  into[offset + 3] = value
}

/** Reads an unsigned 32-bit number at `offset`. */
export function readU32(from: Uint8Array, offset: number): number {
  const high = ((from[offset] as number) << 24) | ((from[offset + 1] as number) << 16)
  return (high | ((from[offset + 2] as number) << 8) | (from[offset + 3] as number)) >>> 0
}

/** Frames in their order as one array. For tests and for peers that speak by hand; the multiplexer writes into its outbox. */
export function encode(...frames: readonly Frame[]): Uint8Array {
  const bytes = new Uint8Array(frames.reduce((sum, frame) => sum + headerLength + frame.payload.length, 0))
  let offset = 0
  for (const { type, stream, payload } of frames) {
    writeHeader(bytes, offset, type, payload.length, stream)
    bytes.set(payload, offset + headerLength)
    offset += headerLength + payload.length
  }
  return bytes
}
