/** A client of the iii surface that says what a test tells it, frame by frame. */

import { expect } from 'vitest'
import { ask } from './client.ts'

/** An answer, or another frame that the server sends. */
export interface Told {
  readonly type: string
  readonly invocation_id?: string
  readonly function_id?: string
  readonly result?: unknown
  readonly error?: { readonly code: string; readonly message: string }
  readonly [field: string]: unknown
}

/** What a fault tells. */
export interface Envelope {
  readonly type: string
  readonly code: string
  readonly message: string
  readonly docs_url: null
  readonly retryable: boolean
  readonly fix: unknown
  readonly fix_note: string
}

export class IiiClient {
  static readonly #all = new Set<IiiClient>()

  readonly socket: WebSocket
  readonly frames: Told[] = []
  readonly closed: Promise<{ code: number; reason: string }>
  readonly #waiting = new Set<() => void>()

  private constructor(socket: WebSocket) {
    this.socket = socket
    IiiClient.#all.add(this)
    const { promise, resolve } = Promise.withResolvers<{ code: number; reason: string }>()
    this.closed = promise
    socket.addEventListener('message', ({ data }) => {
      this.frames.push(JSON.parse(String(data)) as Told)
      for (const look of [...this.#waiting]) look()
    })
    socket.addEventListener('close', ({ code, reason }) => resolve({ code, reason }))
    socket.accept()
  }

  /** With the key in the header, unless `path` has it. */
  static async connect(key: string | undefined, path = '/iii'): Promise<IiiClient> {
    const response = await ask(path, { ...(key === undefined ? {} : { key }), headers: { upgrade: 'websocket' } })
    expect(response.status).toBe(101)
    return new IiiClient(response.webSocket as WebSocket)
  }

  static closeAll(): void {
    for (const client of IiiClient.#all) client.close()
    IiiClient.#all.clear()
  }

  close(): void {
    this.socket.close(1000, '')
  }

  send(frame: object | string): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  /** The first frame that fits, be it here already or not. */
  until(fits: (frame: Told) => boolean): Promise<Told> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.frames.find(fits)
        if (found === undefined) return
        this.#waiting.delete(look)
        resolve(found)
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** Who it is: what brings its answers back to it. */
  async identity(): Promise<{ worker_id: string; reattach_token: string }> {
    return (await this.until(({ type }) => type === 'workerregistered')) as unknown as Awaited<
      ReturnType<IiiClient['identity']>
    >
  }

  /** Sends an invocation and answers its id. */
  begin(function_id: string, data?: unknown, more: object = {}): string {
    const invocation_id = crypto.randomUUID()
    this.send({ type: 'invokefunction', invocation_id, function_id, data, ...more })
    return invocation_id
  }

  answerTo(id: string): Promise<Told> {
    return this.until(({ type, invocation_id }) => type === 'invocationresult' && invocation_id === id)
  }

  /** The answer's frame. */
  call(functionId: string, data?: unknown, more: object = {}): Promise<Told> {
    return this.answerTo(this.begin(functionId, data, more))
  }

  /** The result of a call that succeeds. */
  async result<Result = Record<string, unknown>>(
    functionId: string,
    data?: unknown,
    more: object = {},
  ): Promise<Result> {
    const { error, result } = await this.call(functionId, data, more)
    expect(error).toBeUndefined()
    return result as Result
  }

  /** The envelope of a call that fails, having checked its form. */
  async fault(functionId: string, data?: unknown): Promise<Envelope> {
    return envelopeOf(await this.call(functionId, data))
  }
}

/** As a client's message has it: `handler error: {…}`, on one line. */
export function envelopeOf({ error }: Told): Envelope {
  const message = `${error?.code}: ${error?.message}`
  const [, json = '{}'] = /^handler error:\s*(\{.*\})$/.exec(message) ?? []
  expect(json, message).not.toBe('{}')
  const envelope = JSON.parse(json) as Envelope
  expect(Object.keys(envelope)).toEqual(['type', 'code', 'message', 'docs_url', 'retryable', 'fix', 'fix_note'])
  return envelope
}
