/** QEMU's control socket for bare machines: one command at a time, events dropped. */

import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'

const limitMs = 20_000

interface Awaited {
  readonly key: string
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class Monitor {
  readonly #socket: Socket
  #awaited: Awaited | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    // An event and an answer come in one chunk, so lines are looked at as they come.
    createInterface({ input: socket }).on('line', (line) => this.#receive(line))
  }

  /** Waits for the greeting and enters command mode. */
  static async open(socket: Socket): Promise<Monitor> {
    const monitor = new Monitor(socket)
    await monitor.#answer('QMP')
    await monitor.run('qmp_capabilities')
    return monitor
  }

  async run(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const answered = this.#answer('return')
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
    await answered
  }

  #answer(key: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`cannot measure: bare QEMU gave no ${key}`)), limitMs)
      const settle = (then: () => void) => {
        clearTimeout(timer)
        this.#awaited = undefined
        then()
      }
      this.#awaited = { key, resolve: () => settle(resolve), reject: (error) => settle(() => reject(error)) }
    })
  }

  #receive(line: string): void {
    const message = JSON.parse(line) as Record<string, unknown>
    if (this.#awaited !== undefined && this.#awaited.key in message) this.#awaited.resolve()
    else if ('error' in message) this.#awaited?.reject(new Error(`cannot measure: bare QEMU answered ${line}`))
  }
}
