/** A runner on fake machines with one sandbox, a scripted edge that calls its ports, and servers of this host that stand for those in the sandbox. */

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo, Server as NetServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  answers,
  encodePortMessage,
  type HeaderList,
  type PortMessage,
  PortMessageDecoder,
} from '@portico/shared/control'
import { call, type TunnelStream } from '@portico/shared/tunnel'
import { daemonConfig, parseConfig } from '../config.ts'
import { type Daemon, startDaemon } from '../daemon.ts'
import { silentLog } from '../log.ts'
import { ScriptedEdge } from '../tunnel/scripted-edge.ts'
import { FakeDriver } from '../vm/fake/index.ts'

const target = { sandbox: 'a', generation: 1 }
const spec = { image: 'python', vcpus: 1, mem_mib: 128, disk_mib: 64, idle_timeout: 0, env: {} }

export interface Asked {
  readonly port: number
  readonly method?: string
  readonly path?: string
  readonly headers?: HeaderList
  readonly body?: Uint8Array | ReadableStream<Uint8Array>
  readonly signal?: AbortSignal
}

export interface Answered {
  readonly status: number
  readonly headers: HeaderList
  readonly stream: TunnelStream
  bytes(): Promise<Buffer>
  text(): Promise<string>
}

export class PortScene {
  readonly edge: ScriptedEdge
  readonly driver: FakeDriver
  readonly #daemon: Daemon
  readonly #folder: string
  readonly #servers: (Server | NetServer)[] = []

  private constructor(edge: ScriptedEdge, driver: FakeDriver, daemon: Daemon, folder: string) {
    this.edge = edge
    this.driver = driver
    this.#daemon = daemon
    this.#folder = folder
  }

  static async open(): Promise<PortScene> {
    const folder = await mkdtemp(join(tmpdir(), 'portico-ports-'))
    const edge = await ScriptedEdge.start()
    const driver = new FakeDriver()
    const config = { edgeUrl: edge.url, token: 't', stateDir: folder, assets: '/nowhere', memoryMib: 1024, poolSize: 0 }
    const daemon = await startDaemon(parseConfig(daemonConfig, config), { driver, log: silentLog(), random: () => 0 })
    const scene = new PortScene(edge, driver, daemon, folder)
    await edge.until(() => edge.links.length > 0)
    await edge.muxer.ready
    await call(edge.muxer, { op: 'sandbox.create', ...target, spec }, answers['sandbox.create'], { signal: never })
    return scene
  }

  async close(): Promise<void> {
    await this.#daemon.stop(AbortSignal.abort())
    await this.edge.close()
    for (const server of this.#servers) {
      if ('closeAllConnections' in server) server.closeAllConnections()
      server.close()
    }
    await rm(this.#folder, { recursive: true, force: true })
  }

  /** Starts a server; answers with its port. */
  async listen(server: Server | NetServer): Promise<number> {
    this.#servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }

  async ask({ port, method = 'GET', path = '/', headers = [], body, signal = never }: Asked): Promise<Answered> {
    const head = { op: 'port.request', ...target, port, method, path, headers, body: body !== undefined }
    const { answer, stream } = await call(this.edge.muxer, head, answers['port.request'], { signal, body })
    return { status: answer.status, headers: answer.headers, ...reading(stream) }
  }

  async socket(port: number, { path = '/', headers = [] as HeaderList, protocols = [] as string[] } = {}) {
    const head = { op: 'port.socket', ...target, port, path, headers, protocols }
    const stream = this.edge.muxer.open(Buffer.from(JSON.stringify(head)))
    const answer = answers['port.socket'].parse(JSON.parse(Buffer.from(await stream.head()).toString()))
    return { answer, ...reading(stream), ...messaging(stream) }
  }
}

const never = new AbortController().signal

function reading(stream: TunnelStream) {
  const bytes = async () => {
    const parts: Uint8Array[] = []
    for (let part = await stream.read(); part; part = await stream.read()) parts.push(part)
    return Buffer.concat(parts)
  }
  return { stream, bytes, text: async () => (await bytes()).toString('utf8') }
}

function messaging(stream: TunnelStream) {
  const decoder = new PortMessageDecoder()
  const queue: PortMessage[] = []
  return {
    send: (message: PortMessage) => stream.write(encodePortMessage(message)),
    /** The next message, or undefined at the end of the stream. */
    next: async (): Promise<PortMessage | undefined> => {
      while (queue.length === 0) {
        const bytes = await stream.read()
        if (!bytes) return undefined
        queue.push(...decoder.push(bytes))
      }
      return queue.shift()
    },
  }
}
