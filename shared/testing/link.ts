/** A link between two multiplexers in one process, whose deliveries a test holds in its hand. */

import type { AppError } from '../src/errors.ts'
import { Muxer } from '../src/tunnel/muxer.ts'
import type { Carrier, MuxerOptions, TunnelStream } from '../src/tunnel/types.ts'

/** One end's way to the other: what was sent and is not delivered, and how the carrier was closed. */
export class Wire implements Carrier {
  readonly messages: Uint8Array[] = []
  /** Errors the carrier was closed with, one for each time. */
  readonly closes: (AppError | undefined)[] = []
  /** Delivers at once; otherwise messages wait for `deliver`. */
  auto = true
  #receive: (bytes: Uint8Array) => void = () => undefined
  #wait: PromiseWithResolvers<void> | undefined

  connect(receive: (bytes: Uint8Array) => void): void {
    this.#receive = receive
  }

  send(bytes: Uint8Array): void {
    if (this.auto && this.messages.length === 0) this.#receive(bytes)
    else this.messages.push(bytes)
  }

  close(error: AppError | undefined): void {
    this.closes.push(error)
  }

  full(): Promise<void> | undefined {
    return this.#wait?.promise
  }

  /** The carrier takes no more from its next send on, until the answer is called. */
  fill(): () => void {
    const wait = Promise.withResolvers<void>()
    this.#wait = wait
    return () => {
      this.#wait = undefined
      wait.resolve()
    }
  }

  /** Bytes that wait. */
  get length(): number {
    return this.messages.reduce((sum, message) => sum + message.length, 0)
  }

  /** Hands on the next bytes, at most so many and not across a message's end. */
  deliver(most = Number.POSITIVE_INFINITY): void {
    const message = this.messages.shift()
    if (!message) return
    if (message.length > most) this.messages.unshift(message.subarray(most))
    this.#receive(message.subarray(0, most))
  }
}

export type EndOptions = Partial<MuxerOptions> & { readonly window?: number }

export interface Link {
  /** Opens odd ids. */
  readonly edge: Muxer
  /** Opens even ids. */
  readonly runner: Muxer
  readonly toRunner: Wire
  readonly toEdge: Wire
}

/** Two multiplexers, connected. */
export function link(edgeOptions: EndOptions = {}, runnerOptions: EndOptions = {}): Link {
  const toRunner = new Wire()
  const toEdge = new Wire()
  const edge = new Muxer({ ...defaults('edge', edgeOptions), carrier: toRunner })
  const runner = new Muxer({ ...defaults('runner', runnerOptions), carrier: toEdge })
  toRunner.connect((bytes) => runner.receive(bytes))
  toEdge.connect((bytes) => edge.receive(bytes))
  return { edge, runner, toRunner, toEdge }
}

function defaults(role: 'edge' | 'runner', { window = 65_536, ...options }: EndOptions): Omit<MuxerOptions, 'carrier'> {
  return {
    opens: role === 'edge' ? 'odd' : 'even',
    hello: { generation: 1, role, window },
    disconnected: role === 'edge' ? 'runner_disconnected' : 'edge_disconnected',
    ...options,
  }
}

/** A link with a stream that the edge opened with the head `ask` and the runner accepted with the head `answer`. */
export async function pair(
  edgeOptions: EndOptions = {},
  runnerOptions: EndOptions = {},
): Promise<Link & { readonly near: TunnelStream; readonly far: TunnelStream }> {
  const opened = Promise.withResolvers<TunnelStream>()
  const ends = link(edgeOptions, { onStream: (stream) => opened.resolve(stream), ...runnerOptions })
  const near = ends.edge.open(new TextEncoder().encode('ask'))
  const far = await opened.promise
  far.accept(new TextEncoder().encode('answer'))
  await near.head()
  return { ...ends, near, far }
}

/** All bytes of a stream up to its end. */
export async function readAll(stream: TunnelStream): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (let part = await stream.read(); part; part = await stream.read()) parts.push(part)
  return Buffer.concat(parts)
}

/** Lets everything that is due in this process happen: promises, then one turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
