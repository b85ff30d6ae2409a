/** An iii worker as a client without an SDK: one socket, invocations by id; and the sockets of channels. */

import { expect } from 'vitest'
import { ask } from './client.ts'

interface Ending {
  readonly result?: unknown
  readonly error?: { readonly code: string; readonly message: string }
}

/** The envelope of a sandbox function's error. */
export interface Envelope {
  readonly type: string
  readonly code: string
  readonly message: string
  readonly retryable: boolean
  readonly fix: unknown
}

export interface ChannelRef {
  readonly channel_id: string
  readonly access_key: string
  readonly direction: 'read' | 'write'
}

export class IiiWorker {
  readonly #socket: WebSocket
  readonly #waiting = new Map<string, (ending: Ending) => void>()

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      const frame = JSON.parse(data as string) as Ending & { type: string; invocation_id?: string }
      if (frame.type === 'invocationresult') this.#waiting.get(frame.invocation_id ?? '')?.(frame)
    })
    socket.accept()
  }

  static async connect(key: string): Promise<IiiWorker> {
    const response = await ask('/iii', { key, headers: { upgrade: 'websocket' } })
    expect(response.status, response.status === 101 ? '' : await response.text()).toBe(101)
    return new IiiWorker(response.webSocket as WebSocket)
  }

  /** How an invocation ends. */
  invoke(function_id: string, data?: unknown): Promise<Ending> {
    const invocation_id = crypto.randomUUID()
    const ended = new Promise<Ending>((resolve) => this.#waiting.set(invocation_id, resolve))
    this.#socket.send(JSON.stringify({ type: 'invokefunction', invocation_id, function_id, data }))
    return ended
  }

  /** Its result. */
  async trigger<Result>(function_id: string, data?: unknown): Promise<Result> {
    const { result, error } = await this.invoke(function_id, data)
    expect(error).toBeUndefined()
    return result as Result
  }

  /** The envelope of its error. */
  async fault(function_id: string, data?: unknown): Promise<Envelope> {
    const { error } = await this.invoke(function_id, data)
    expect(error?.code).toBe('handler error')
    return JSON.parse(error?.message ?? '') as Envelope
  }

  leave(): void {
    this.#socket.close(1000, '')
  }
}

/** A socket at one end of a channel. */
export class ChannelEnd {
  readonly socket: WebSocket
  readonly texts: string[] = []
  readonly lengths: number[] = []
  readonly #parts: Uint8Array[] = []
  closed: { code: number; reason: string } | undefined

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.binaryType = 'arraybuffer'
    socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') this.texts.push(data)
      else {
        this.lengths.push((data as ArrayBuffer).byteLength)
        this.#parts.push(new Uint8Array(data as ArrayBuffer))
      }
    })
    socket.addEventListener('close', ({ code, reason }) => {
      this.closed = { code, reason }
    })
    socket.accept()
  }

  static async join(ref: ChannelRef, direction = ref.direction): Promise<ChannelEnd> {
    const response = await joinChannel(ref, direction)
    expect(response.status, response.status === 101 ? '' : await response.text()).toBe(101)
    return new ChannelEnd(response.webSocket as WebSocket)
  }

  /** What came, once the other side has closed. */
  async all(): Promise<Uint8Array> {
    await expect.poll(() => this.closed).toBeDefined()
    return new Uint8Array(await new Blob(this.#parts as Uint8Array<ArrayBuffer>[]).arrayBuffer())
  }

  get length(): number {
    return this.lengths.reduce((sum, length) => sum + length, 0)
  }
}

/** The upgrade of a channel's socket, whatever comes of it. */
export function joinChannel({ channel_id, access_key }: ChannelRef, direction: string): Promise<Response> {
  const query = `key=${encodeURIComponent(access_key)}&dir=${direction}`
  return ask(`/iii/ws/channels/${channel_id}?${query}`, { headers: { upgrade: 'websocket' } })
}
