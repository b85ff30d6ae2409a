/** All that look at a console now: the sockets that are open, each taken up again from its note if the object has slept. */

import type { Adapter, Chunk, Joined, Notice } from './frames.ts'
import { type Kept, Viewer, type ViewerSocket } from './viewer.ts'

export class Viewers {
  readonly #adapter: Adapter
  readonly #sockets: () => readonly ViewerSocket[]
  readonly #known = new Map<ViewerSocket, Viewer>()

  constructor(adapter: Adapter, sockets: () => readonly ViewerSocket[]) {
    this.#adapter = adapter
    this.#sockets = sockets
  }

  join(socket: ViewerSocket, joined: Joined): Viewer {
    const viewer = Viewer.join(socket, this.#adapter, joined)
    this.#known.set(socket, viewer)
    return viewer
  }

  /** Lets a socket go; answers who it was and who is left. */
  leave(socket: ViewerSocket): { readonly viewer: Viewer | undefined; readonly others: readonly Viewer[] } {
    const viewer = this.of(socket)
    this.#known.delete(socket)
    const others = this.#sockets().flatMap((other) => (other === socket ? [] : (this.of(other) ?? [])))
    return { viewer, others }
  }

  get all(): readonly Viewer[] {
    return this.#sockets().flatMap((socket) => this.of(socket) ?? [])
  }

  /** Whether somebody looks on, and all that do are slow. */
  get areAllFull(): boolean {
    const { all } = this
    return all.length > 0 && all.every((viewer) => viewer.isFull)
  }

  of(socket: ViewerSocket): Viewer | undefined {
    const known = this.#known.get(socket)
    if (known !== undefined) return known
    const note = socket.readNote()
    if (note === undefined) return undefined
    const viewer = new Viewer(socket, this.#adapter, note)
    this.#known.set(socket, viewer)
    return viewer
  }

  offer(chunk: Chunk, kept: Kept): void {
    for (const viewer of this.all) viewer.offer(chunk, kept)
  }

  tell(notice: Notice): void {
    for (const viewer of this.all) viewer.tell(notice)
  }

  tellLink(isConnected: boolean, reason?: string): void {
    for (const viewer of this.all) viewer.tellLink(isConnected, reason)
  }

  tellCount(all: readonly Viewer[] = this.all): void {
    for (const viewer of all) viewer.tell({ kind: 'viewers', count: all.length })
  }
}
