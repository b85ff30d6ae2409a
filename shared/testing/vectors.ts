/** The golden frames of `vectors/frames.json`, for tests on Node. */

import { readFileSync } from 'node:fs'
import type { Frame } from '../src/tunnel/frame.ts'

export interface ExpectedFrame {
  readonly type: number
  readonly stream: number
  readonly payloadHex?: string
  readonly json?: unknown
}

interface Named {
  readonly name: string
  readonly hex: string
}

export interface Vectors {
  readonly generation: number
  readonly frames: readonly (Named & { readonly frames: readonly ExpectedFrame[] })[]
  readonly bad: readonly (Named & { readonly error: string })[]
  readonly badMessages: readonly (Named & { readonly error: string })[]
  readonly hellos: readonly { readonly name: string; readonly text: string; readonly ok: boolean }[]
  readonly wireErrors: readonly {
    readonly name: string
    readonly text: string
    readonly code?: string
    readonly message?: string
    readonly error?: string
  }[]
  readonly sessions: readonly (Named & {
    readonly expect: {
      readonly connectionError?: true
      readonly paused?: true
      readonly resets?: readonly { readonly stream: number; readonly code: string }[]
    }
  })[]
  readonly preamble: {
    readonly magic: string
    readonly flush: string
    readonly maxDiscarded: number
    readonly runner: readonly (Named & PreambleCase & { readonly atOnce?: true })[]
    readonly agent: readonly (Named & PreambleCase & { readonly nonce: string; readonly restarts?: number })[]
  }
}

interface PreambleCase {
  readonly nonce?: string
  readonly rest?: string
  readonly waiting?: true
  readonly error?: string
}

export const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../vectors/frames.json', import.meta.url), 'utf8'),
) as Vectors

/** Groups of hex digits; `bb*N` is the byte bb N times over. */
export function fromHex(text: string): Uint8Array {
  const parts = text.split(' ').map((group) => {
    const [digits = '', count = '1'] = group.split('*')
    const bytes = Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
    return count === '1' ? bytes : new Uint8Array(Number(count)).fill(bytes[0] ?? 0)
  })
  return join(parts)
}

/** Chunks as one array. */
export function join(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** Cuts bytes at the given places, in any order. */
export function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [0, ...[...places].map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
}

/** Frames in a form that compares well and quickly. */
export function plain(frames: readonly Frame[]): { type: number; stream: number; payload: string }[] {
  return frames.map(({ type, stream, payload }) => ({ type, stream, payload: Buffer.from(payload).toString('latin1') }))
}
