/** What a console says to its viewers and hears from them, whatever their wire looks like: one adapter file holds the frames of each. */

import type { ProcessEnding } from '@portico/shared/api'
import type { WireError } from '@portico/shared/errors'
import type { ShellMark } from './shell-mark.ts'

/** A piece of what the process printed, with its place. `run` is the shell's command that printed it. */
export interface Chunk {
  readonly at: number
  readonly kind: 'stdout' | 'stderr' | 'mark'
  readonly run: string | null
  readonly bytes: Uint8Array
}

export type Frame = string | Uint8Array

/** What everybody who looks on is told. */
export type Notice =
  | { readonly kind: 'size'; readonly cols: number; readonly rows: number }
  | { readonly kind: 'viewers'; readonly count: number }
  | { readonly kind: 'link'; readonly state: 'connected' | 'reconnecting'; readonly reason?: string }
  /** A shell's command was over before. */
  | { readonly kind: 'ended'; readonly mark: ShellMark }
  | { readonly kind: 'exit'; readonly ending: ProcessEnding }
  | { readonly kind: 'error'; readonly error: WireError; readonly run?: string }

export interface Joined {
  readonly id: string
  readonly access: 'read' | 'write'
  readonly cols: number
  readonly rows: number
  readonly offset: number
}

/** What a viewer asks for. */
export type Input =
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  | { readonly kind: 'size'; readonly cols: number; readonly rows: number }
  | { readonly kind: 'signal'; readonly signal: string }
  | { readonly kind: 'run'; readonly id: string; readonly command: string }
  | { readonly kind: 'ack'; readonly bytes: number }
  | { readonly kind: 'close' }

/** The frames of one wire. `Rest` is what it remembers for each viewer between two chunks: plain data, as it outlives the object's memory. */
export interface Adapter {
  joined(joined: Joined): Frame[]
  live(): Frame[]
  gap(bytes: number): Frame[]
  /** A chunk's frames, and what to remember. */
  chunk(rest: Rest, chunk: Chunk): { readonly frames: Frame[]; readonly rest: Rest }
  notice(notice: Notice): Frame[]
  /** What a viewer sent; undefined for what is no frame of this wire. */
  read(message: ArrayBuffer | string): Input | undefined
}

/** Bytes of a character that has not come whole yet, by output. */
export interface Rest {
  readonly stdout?: readonly number[]
  readonly stderr?: readonly number[]
}

const encoder = new TextEncoder()

/** A mark as its place in the output counts it. */
export function chunkBytes(json: string): Uint8Array {
  return encoder.encode(json)
}

/** The text as JSON, if it is. */
export function parseText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
