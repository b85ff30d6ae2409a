/** An edge for tests: a WebSocket server that speaks the real protocol and does what the test tells it. */

import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type RunnerNews, readStatus, runnerCall } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import {
  answer,
  call,
  defaultWindow,
  Muxer,
  parseHead,
  type TunnelStream,
  tunnelGeneration,
} from '@portico/shared/tunnel'
import { type WebSocket, WebSocketServer } from 'ws'
import { webSocketCarrier } from './carrier.ts'

export interface EdgeScript {
  /** Answers the upgrade with this status instead of taking it. */
  refuse?: number | undefined
  /** The generation in its HELLO. */
  generation?: number
  /** Takes the socket and says nothing at all on it. */
  mute?: boolean
  /** What to do with a runner's call; answers it unless told otherwise. */
  onCall?: (head: RunnerNews, stream: TunnelStream) => void
}

export class ScriptedEdge {
  readonly script: EdgeScript
  /** Tokens of the connections, in order; those refused among them. */
  readonly tokens: (string | undefined)[] = []
  /** Headers of the upgrades that were taken, in order. */
  readonly upgrades: IncomingHttpHeaders[] = []
  /** The sockets that are open, in the order in which they came. */
  readonly links: { readonly socket: WebSocket; readonly muxer: Muxer; readonly index: string }[] = []
  readonly calls: RunnerNews[] = []
  readonly texts: string[] = []
  goneAway: string | undefined
  readonly #http: Server
  readonly #webSockets: WebSocketServer
  readonly #waiting: (() => void)[] = []
  #socket: WebSocket | undefined
  #muxer: Muxer | undefined

  private constructor(script: EdgeScript) {
    this.script = script
    this.#http = createServer()
    this.#webSockets = new WebSocketServer({ noServer: true })
    this.#http.on('upgrade', (request, socket, head) => {
      this.tokens.push(request.headers.authorization)
      if (this.script.refuse !== undefined) socket.end(`HTTP/1.1 ${this.script.refuse} X\r\ncontent-length: 0\r\n\r\n`)
      else this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => this.#take(webSocket, request.headers))
      this.#changed()
    })
  }

  static async start(script: EdgeScript = {}): Promise<ScriptedEdge> {
    const edge = new ScriptedEdge(script)
    edge.#http.listen(0, '127.0.0.1')
    await once(edge.#http, 'listening')
    return edge
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}/v1/runner/tunnel`
  }

  get muxer(): Muxer {
    if (!this.#muxer) throw new Error('no runner is connected')
    return this.#muxer
  }

  /** Resolves once the condition holds; it is looked at whenever something happened. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Resolves once so many calls of an op have come, with all of them. */
  async called<Op extends RunnerNews['op']>(op: Op, count = 1): Promise<Extract<RunnerNews, { op: Op }>[]> {
    const found = () => this.calls.filter((one): one is Extract<RunnerNews, { op: Op }> => one.op === op)
    await this.until(() => found().length >= count)
    return found()
  }

  /** Makes a call to the runner. */
  call = ((head, schema, options) => call(this.muxer, head, schema, options)) as (
    ...args: Parameters<typeof call> extends [unknown, ...infer Rest] ? Rest : never
  ) => ReturnType<typeof call>

  /** Ends the connection without a word, as a lost network does. */
  cut(): void {
    this.#socket?.terminate()
  }

  /** Closes the connection with a close frame. */
  hangUp(code = 1001): void {
    this.#socket?.close(code)
  }

  async close(): Promise<void> {
    for (const socket of this.#webSockets.clients) socket.terminate()
    this.#http.closeAllConnections()
    await new Promise((closed) => this.#http.close(closed))
  }

  #take(socket: WebSocket, headers: IncomingHttpHeaders): void {
    this.#socket = socket
    this.upgrades.push(headers)
    socket.on('error', () => undefined)
    if (this.script.mute) return
    const muxer = new Muxer({
      carrier: webSocketCarrier(socket),
      opens: 'odd',
      hello: { generation: this.script.generation ?? tunnelGeneration, role: 'edge', window: defaultWindow },
      disconnected: 'runner_disconnected',
      messages: true,
      onStream: (stream, head) =>
        void this.#onStream(stream, head).catch((cause) => stream.reset(AppError.from(cause))),
      onGoAway: ({ code }) => {
        this.goneAway = code
        this.#changed()
      },
    })
    this.#muxer = muxer
    const link = { socket, muxer, index: String(headers['portico-socket']) }
    this.links.push(link)
    void muxer.ready.then(() => this.#changed()).catch(() => undefined)
    socket.on('close', () => {
      this.links.splice(this.links.indexOf(link), 1)
      muxer.close()
      this.#changed()
    })
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) return muxer.receive(data)
      this.texts.push(String(data))
      if (!this.script.mute) socket.send('pong')
      this.#changed()
    })
  }

  async #onStream(stream: TunnelStream, head: Uint8Array): Promise<void> {
    const call = parseHead(head, runnerCall)
    const made = call.op === 'runner.status' ? await readStatus(call, stream) : call
    this.calls.push(made)
    if (this.script.onCall) this.script.onCall(made, stream)
    else {
      answer(stream)
      stream.end()
    }
    this.#changed()
  }

  #changed(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}
