/** A peer that speaks frames by hand, right or wrong, to one multiplexer, and notes what that answers. */

import type { AppError } from '../src/errors.ts'
import { Decoder } from '../src/tunnel/decode.ts'
import { encode } from '../src/tunnel/encode.ts'
import { type Frame, frameType } from '../src/tunnel/frame.ts'
import { Muxer } from '../src/tunnel/muxer.ts'
import type { Hello, MuxerOptions, TunnelStream } from '../src/tunnel/types.ts'
import { turn } from './link.ts'

const bytesOf = (value: unknown) => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))

/** A frame; a payload that is no array is sent as JSON or as a text's bytes. */
export function frame(type: number, stream: number, payload: unknown = ''): Frame {
  return { type, stream, payload: payload instanceof Uint8Array ? payload : bytesOf(payload) }
}

export function creditFrame(stream: number, amount: number): Frame {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(amount)
  return { type: frameType.credit, stream, payload }
}

export class ScriptedPeer {
  readonly muxer: Muxer
  /** What the multiplexer sent, without its HELLO. */
  readonly frames: Frame[] = []
  /** How many times the carrier was used. */
  sends = 0
  readonly closes: (AppError | undefined)[] = []
  hello: unknown
  #wait: PromiseWithResolvers<void> | undefined

  constructor(options: Partial<MuxerOptions> = {}) {
    const decoder = new Decoder((type, stream, payload) => {
      if (type === frameType.hello) this.hello = JSON.parse(new TextDecoder().decode(payload))
      else this.frames.push({ type, stream, payload })
    })
    this.muxer = new Muxer({
      opens: 'even',
      hello: { generation: 1, role: 'runner', window: 16_384 },
      disconnected: 'edge_disconnected',
      ...options,
      carrier: {
        send: (bytes) => {
          this.sends++
          decoder.push(bytes)
        },
        close: (error) => this.closes.push(error),
        full: () => this.#wait?.promise,
        ...options.carrier,
      },
    })
  }

  /** Reads nothing more after the next message, until the answer is called. */
  stopReading(): () => void {
    const wait = Promise.withResolvers<void>()
    this.#wait = wait
    return () => {
      this.#wait = undefined
      wait.resolve()
    }
  }

  /** Sends frames in one delivery and lets the multiplexer answer. */
  async send(...frames: readonly Frame[]): Promise<void> {
    await this.sendBytes(encode(...frames))
  }

  async sendBytes(bytes: Uint8Array): Promise<void> {
    this.muxer.receive(bytes)
    await turn()
  }

  /** Says hello; the multiplexer is ready afterwards. */
  async greet(hello: Partial<Hello> = {}): Promise<void> {
    await this.send(frame(frameType.hello, 0, { generation: 1, role: 'edge', window: 16_384, ...hello }))
  }

  /** What was received of a type, as `[stream, payload]`, and forgotten. */
  take(type: number): [number, Uint8Array][] {
    const taken = this.frames.filter((one) => one.type === type)
    this.frames.splice(0, this.frames.length, ...this.frames.filter((one) => one.type !== type))
    return taken.map(({ stream, payload }) => [stream, payload])
  }

  /** Streams that the multiplexer reset, with their codes. */
  takeResets(): { stream: number; code: string }[] {
    return this.take(frameType.reset).map(([stream, payload]) => {
      const { code } = JSON.parse(new TextDecoder().decode(payload)) as { code: string }
      return { stream, code }
    })
  }
}

/** A peer that has said hello. */
export async function greeted(options: Partial<MuxerOptions> = {}): Promise<ScriptedPeer> {
  const peer = new ScriptedPeer(options)
  await peer.greet()
  return peer
}

/** A peer whose hello granted `window`, and a stream of the multiplexer that it has answered. */
export async function answered(window: number): Promise<{ peer: ScriptedPeer; stream: TunnelStream }> {
  const peer = new ScriptedPeer()
  await peer.greet({ window })
  const stream = peer.muxer.open()
  await peer.send(frame(frameType.open, stream.id))
  peer.frames.length = 0
  return { peer, stream }
}
