/** What the multiplexer offers and what it needs. `docs/protocol.md` is the normative text. */

import type { Clock } from '../clock.ts'
import type { AppError, ErrorCode, WireError } from '../errors.ts'

export type Role = 'edge' | 'runner' | 'agent'

/** The first frame of each side. */
export interface Hello {
  readonly generation: number
  readonly role: Role
  /** Credit that the sender of this HELLO grants at the start of each stream. */
  readonly window: number
  /** From the side that holds a paused session: its mark. */
  readonly paused?: string
  /** From the side that paused a session: that it goes on, as the peer holds it. */
  readonly resume?: string
}

/** One stream: two byte sequences. Every waiting call rejects with an AppError once the stream is reset or the connection has ended. */
export interface TunnelStream {
  readonly id: number
  /** The peer's head: known at once on an accepted stream; on an opened one it resolves when the acceptor answers. */
  head(): Promise<Uint8Array>
  /** Acceptor only, once, before its first write or end: answers the opener. */
  accept(head?: Uint8Array): void
  /** The next bytes, or undefined at the peer's end. What is returned counts as consumed and is granted again. One reader at a time. */
  read(): Promise<Uint8Array | undefined>
  /** Resolves when the last byte was handed to the carrier, which waits for the peer's credit. Writes queue in order. The array must not change until then. */
  write(bytes: Uint8Array): Promise<void>
  /** No more bytes from this side; queued writes go first. Repeating it does nothing. */
  end(): void
  /** Ends both directions now. Repeating it, or on a stream that is over, does nothing. */
  reset(error: WireError): void
  /** Resolves when the stream is over in both directions: with undefined after two ENDs, with the error otherwise. Never rejects. */
  readonly done: Promise<AppError | undefined>
}

/** What carries the frames. */
export interface Carrier {
  /**
   * Sends one or more whole frames, at most 1 MiB. The array is the carrier's: it is not written to again, unless the carrier says by `done`, at most
   * once, that it needs it no more. Throwing ends the connection.
   */
  send(bytes: Uint8Array, done: () => void): void
  /**
   * Asked after each send. A promise says that the carrier takes no more for now; nothing is sent until it resolves, and a rejection ends the connection.
   * A carrier that buffers without telling lets a peer that does not read fill this side's memory.
   */
  full?(): Promise<void> | undefined
  /** Closes the carrier because of a connection error or a planned end. Called at most once. */
  close(error: AppError | undefined): void
}

export interface MuxerOptions {
  readonly carrier: Carrier
  /** Which ids this side opens. */
  readonly opens: 'odd' | 'even'
  readonly hello: Hello
  /** The code that open streams end with when the connection ends without a reason of its own. */
  readonly disconnected: ErrorCode
  /** A stream that the peer opened, with its head. Without a handler such streams are reset with `unsupported`. */
  readonly onStream?: (stream: TunnelStream, head: Uint8Array) => void
  readonly onGoAway?: (error: WireError) => void
  /** Carries frames on a message carrier: a message must hold whole frames. */
  readonly messages?: boolean
  /** Sends PING after `idleMs` of silence and ends the connection `limitMs` later; off unless given. Needs `clock`. */
  readonly keepalive?: { readonly idleMs: number; readonly limitMs: number; readonly clock: Clock }
  /** Measures the wait for the peer's HELLO; that of `keepalive` or the system's unless given. */
  readonly clock?: Clock
  /**
   * For an owner that sleeps between messages and loses its memory while no stream is open: takes up a connection whose HELLOs were exchanged before.
   * No HELLO is sent; frames of unknown ids belong to streams from before: they are skipped, and an answer to such a stream is told by RESET that nobody waits for it.
   */
  readonly resume?: { readonly peer: Hello; readonly firstId: number }
  /** Lets the peer pause the session: what is open is held until it goes on over another carrier, or is closed. */
  readonly holds?: boolean
  /** The peer's HELLO, where the owner has exchanged HELLOs by itself: none is sent or awaited. */
  readonly greeted?: Hello
  /**
   * Runs something a little later: frames that are sent until then leave together. As a microtask unless given; an owner for whose peer each message
   * is dear gives a later one, so that an answer's head, its body and its end are one message.
   */
  readonly soon?: (run: () => void) => void
  /** Called before a block of ids is used, with the first id after the block: what `resume` must be given from this call on. */
  readonly onReserve?: (firstId: number) => void
}
