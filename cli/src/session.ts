/**
 * One run of the CLI: its streams, its signal, the platform it talks to, and the code it ends with. Commands get this and nothing of the process. The
 * SDK is most of what there is to load, so it is loaded when a client is asked for.
 */

import { resolve } from 'node:path'
import type { Portico } from '@portico/sdk'
import type { PorticoAdmin } from '@portico/sdk/admin'
import { type Connection, findAdmin, findConnection, type Given } from './connection.ts'
import { Interrupt } from './interrupt.ts'
import { Progress } from './output/progress.ts'
import { Terminal } from './output/terminal.ts'

/** The checkout that this CLI is a part of. */
export const checkout = resolve(import.meta.dirname, '..', '..')

export class Session {
  readonly terminal = new Terminal(process.stdout, process.stderr)
  readonly progress = new Progress(this.terminal)
  readonly interrupt = new Interrupt()
  exitCode = 0
  /** Whether the platform is this machine's, found by itself. */
  local = false
  readonly #given: () => Given

  /** `given` tells what the command line says of the platform, once it has been read. */
  constructor(given: () => Given) {
    this.#given = given
    this.signal.addEventListener('abort', () => void this.progress.begin('cleaning up'), { once: true })
  }

  /** Aborts when the user interrupts. */
  get signal(): AbortSignal {
    return this.interrupt.signal
  }

  /** The client of the platform. Whoever asks for it closes it. */
  async connect(): Promise<Portico> {
    return (await this.connectTo()).portico
  }

  /** The same with where that is; what is `given` goes before what the command line says. */
  async connectTo(given: Given = {}): Promise<{ portico: Portico; connection: Connection }> {
    const connection = this.#found(await findConnection({ ...this.#given(), ...given }, process.env, checkout))
    const { Portico } = await import('@portico/sdk')
    return { portico: new Portico({ baseUrl: connection.baseUrl, apiKey: connection.key }), connection }
  }

  /** The operator's client. Whoever asks for it closes it. */
  async connectAdmin(): Promise<PorticoAdmin> {
    const { baseUrl, key } = this.#found(await findAdmin(this.#given(), process.env, checkout))
    const { PorticoAdmin } = await import('@portico/sdk/admin')
    return new PorticoAdmin({ url: baseUrl, adminKey: key })
  }

  #found(connection: Connection): Connection {
    this.local = connection.local
    return connection
  }
}
