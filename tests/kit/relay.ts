/** A TCP relay between runner and front door that a test can cut: what a network does to a tunnel, when the test wants it. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export class Relay {
  readonly #sockets = new Set<Socket>()
  readonly #server = createServer((from) => this.#join(from))
  #target = 0

  /** Listens on a free port of loopback and passes everything to `target`. */
  async open(target: number): Promise<number> {
    this.#target = target
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as { port: number }).port
  }

  /** How many connections pass now. */
  get connections(): number {
    return this.#sockets.size / 2
  }

  /** Cuts every connection, without a word, as a pulled cable does once the kernel gives up. New ones pass. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** Resolves at the next new connection. */
  async reconnected(): Promise<void> {
    await once(this.#server, 'connection')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(from: Socket): void {
    const to = connect(this.#target, '127.0.0.1')
    for (const [socket, other] of [
      [from, to],
      [to, from],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  }
}
