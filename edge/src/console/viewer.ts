/**
 * One socket that looks at a console. What it needs to go on stands on the socket itself, so that it outlives the object's memory.
 *
 *   catching up ──sent all that is kept──▶ live          either, with acks ──1 MiB ahead of the last──▶ waiting ──ack──▶ either
 *
 * A viewer that acknowledges is never sent more than 1 MiB ahead, and what it missed meanwhile comes from the scrollback. Of one that does not, the
 * platform tells nothing that could be acted on: its server sockets have no `bufferedAmount` and no event for room, and what was sent and not taken
 * waits in a queue of the platform's that no program can bound. Such a viewer is sent what comes.
 */

import type { WireError } from '@portico/shared/errors'
import type { Adapter, Chunk, Frame, Joined, Notice, Rest } from './frames.ts'

/** How far ahead of its last ack a viewer is sent. */
const aheadBytes = 1_048_576

export interface ViewerNote {
  readonly access: 'read' | 'write'
  /** The offset behind what it was sent. */
  readonly at: number
  readonly live: boolean
  /** Bytes of output sent since it joined, and how many of them it says were shown; null if it never said so. */
  readonly sent: number
  readonly acked: number | null
  /** It was told that the sandbox is not reached. */
  readonly apart: boolean
  readonly rest: Rest
}

/** A socket with its note. */
export interface ViewerSocket {
  send(frame: Frame): void
  close(code: number, reason: string): void
  readNote(): ViewerNote | undefined
  writeNote(note: ViewerNote): void
}

/** Where output is kept. */
export interface Kept {
  from(at: number): Iterable<Chunk>
}

export class Viewer {
  readonly #socket: ViewerSocket
  readonly #adapter: Adapter
  #note: ViewerNote

  /** Takes up a socket that has a note. */
  constructor(socket: ViewerSocket, adapter: Adapter, note: ViewerNote) {
    this.#socket = socket
    this.#adapter = adapter
    this.#note = note
  }

  /** A new viewer, told where it begins. */
  static join(socket: ViewerSocket, adapter: Adapter, joined: Joined): Viewer {
    const note = { access: joined.access, at: joined.offset, live: false, sent: 0, acked: null, apart: false, rest: {} }
    socket.writeNote(note)
    const viewer = new Viewer(socket, adapter, note)
    viewer.#send(adapter.joined(joined))
    return viewer
  }

  get mayWrite(): boolean {
    return this.#note.access === 'write'
  }

  /** Whether it acknowledges, and has not shown what it was sent. */
  get isFull(): boolean {
    const { sent, acked } = this.#note
    return acked !== null && sent - acked >= aheadBytes
  }

  get at(): number {
    return this.#note.at
  }

  /** Sends what is kept from where it stands, as far as there is room. */
  catchUp(kept: Kept): void {
    for (const chunk of kept.from(this.#note.at)) {
      if (this.isFull) return
      this.#pass(chunk)
    }
    if (this.#note.live || this.isFull) return
    this.#write({ live: true })
    this.#send(this.#adapter.live())
  }

  /** Takes a chunk that was just kept. */
  offer(chunk: Chunk, kept: Kept): void {
    if (this.isFull) return
    if (this.#note.live && this.#note.at === chunk.at) this.#pass(chunk)
    else this.catchUp(kept)
  }

  ack(bytes: number, kept: Kept): void {
    const acked = Math.min(bytes, this.#note.sent)
    this.#write({ acked: Math.max(acked, this.#note.acked ?? 0) })
    this.catchUp(kept)
  }

  tell(notice: Notice): void {
    this.#send(this.#adapter.notice(notice))
  }

  refuse(error: WireError, run?: string): void {
    this.tell({ kind: 'error', error, ...(run === undefined ? {} : { run }) })
  }

  /** Tells whether the sandbox is reached, where that is news. */
  tellLink(isConnected: boolean, reason?: string): void {
    if (this.#note.apart === !isConnected) return
    this.#write({ apart: !isConnected })
    const state = isConnected ? 'connected' : 'reconnecting'
    this.tell({ kind: 'link', state, ...(reason === undefined ? {} : { reason }) })
  }

  close(code: number, reason: string): void {
    try {
      this.#socket.close(code, reason)
    } catch {
      // It is closed.
    }
  }

  #pass(chunk: Chunk): void {
    const { at } = this.#note
    const skipped = at - chunk.at
    if (skipped >= chunk.bytes.length) return
    if (skipped < 0) this.#send(this.#adapter.gap(-skipped))
    // Half a mark says nothing.
    const isWhole = skipped <= 0 || chunk.kind !== 'mark'
    const part = skipped > 0 ? { ...chunk, at, bytes: chunk.bytes.subarray(skipped) } : chunk
    const { frames, rest } = isWhole
      ? this.#adapter.chunk(this.#note.rest, part)
      : { frames: [], rest: this.#note.rest }
    const counted = part.kind === 'mark' ? 0 : part.bytes.length
    this.#write({ at: part.at + part.bytes.length, sent: this.#note.sent + counted, rest })
    this.#send(frames)
  }

  #send(frames: readonly Frame[]): void {
    try {
      for (const frame of frames) this.#socket.send(frame)
    } catch {
      // It is closed: the platform tells so in its own time.
    }
  }

  #write(change: Partial<ViewerNote>): void {
    this.#note = { ...this.#note, ...change }
    this.#socket.writeNote(this.#note)
  }
}
