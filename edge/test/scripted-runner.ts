/**
 * A runner that does what a test tells it, speaking the real protocol over a real WebSocket of the front door. Unless told otherwise it
 * behaves: it does at once what it is asked, remembers nothing but what it has, and its guests answer 404.
 */

import {
  acknowledged,
  type EdgeCall,
  edgeCall,
  type HeaderList,
  type PullProgress,
  type RunnerImage,
  type RunnerStatus,
  statusCall,
} from '@portico/shared/control'
import { AppError, type WireError } from '@portico/shared/errors'
import { base32 } from '@portico/shared/ids'
import { answer, call, closeFrame, Muxer, parseHead, refuse, type TunnelStream } from '@portico/shared/tunnel'
import { expect } from 'vitest'
import { answer as adminAnswer, adminKey, ask } from './client.ts'

type Op = EdgeCall['op']
type CallOf<Name extends Op> = Extract<EdgeCall, { op: Name }>

/** Handles one call; without one the default answers. */
export type Script = { [Name in Op]?: (call: CallOf<Name>, stream: TunnelStream) => unknown }

export const someUsage = {
  cpu_ms: 120,
  mem_peak_bytes: 50_000_000,
  mem_current_bytes: 40_000_000,
  disk_used_bytes: 1_000_000,
  uptime_ms: 3_600_000,
}

export const snapshotSize = 4_321_000
export const checkpointSize = 12_345_678

const encoder = new TextEncoder()
const absent = new AppError('sandbox_not_found', 'cannot find the sandbox: it is not on this runner')

/** A fork's answer in which every child came to be. */
export function forkAnswer(children: readonly { sandbox: string }[]) {
  const made = children.map(({ sandbox }) => ({ sandbox, create_ms: 5 }))
  return { resolved_image: 'python', pause_ms: 12, children: made }
}

export interface Enrolled {
  readonly id: string
  readonly token: string
}

/** Which session a socket is of, and which of its sockets; `null` dials as generation 1 did. */
export interface Dialled {
  readonly session: string
  readonly socket: `${number}/${number}`
}

export function newSession(): string {
  return base32(crypto.getRandomValues(new Uint8Array(16)))
}

export async function enrol(region = 'local'): Promise<Enrolled> {
  return adminAnswer<Enrolled>('/admin/runners', { key: adminKey, json: { region } })
}

/** A guest's answer with a small body. */
export function guestAnswers(
  stream: TunnelStream,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const bytes = encoder.encode(JSON.stringify(body))
  answer(stream, {
    status,
    headers: { 'Content-Type': 'application/json', 'Content-Length': String(bytes.length), ...headers },
  })
  void stream.write(bytes).catch(() => undefined)
  stream.end()
}

/** An app's answer with a body that is there at once. */
export function appAnswers(
  stream: TunnelStream,
  status: number,
  headers: HeaderList,
  body?: string | Uint8Array,
): void {
  answer(stream, { status, headers })
  const bytes = typeof body === 'string' ? encoder.encode(body) : body
  if (bytes !== undefined && bytes.length > 0) void stream.write(bytes).catch(() => undefined)
  stream.end()
}

/** What a runner says of an image that it has pulled by this reference. */
export function pulledImage(reference: string): RunnerImage {
  const whole = /^[^/]+[.:][^/]*\//.test(reference) ? reference : `docker.io/library/${reference}`
  const config = { env: { PATH: '/bin' }, workdir: '/', user: '', entrypoint: [], cmd: ['sh'] }
  return {
    name: `${whole.split(':')[0]}@sha256:${'0'.repeat(64)}`,
    reference: whole,
    digest: 'sha256:0',
    size_bytes: 7_000_000,
    config,
  }
}

/** A line of the answer to a pull. */
export async function tellPull(stream: TunnelStream, line: PullProgress): Promise<void> {
  await stream.write(encoder.encode(`${JSON.stringify(line)}\n`))
}

/** Everything the other side sends, as text. */
export async function readAll(stream: TunnelStream): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) text += decoder.decode(bytes)
  return text
}

export class ScriptedRunner {
  static readonly #all = new Set<ScriptedRunner>()

  readonly id: string
  readonly token: string
  readonly calls: EdgeCall[] = []
  /** Of the streams that the edge has opened, as they came. */
  readonly streamIds: number[] = []
  readonly muxer: Muxer
  readonly socket: WebSocket
  /** What it would report. */
  status: RunnerStatus = {
    op: 'runner.status',
    session: 'session-1',
    version: '0.1.0',
    accelerator: 'tcg',
    draining: false,
    vcpus: 2,
    total_mem_mib: 16_384,
    free_vcpus: 64,
    load: 0.2,
    warm: {},
    free_mem_mib: 8192,
    free_slots: 8,
    images: ['node', 'python'],
    sandboxes: [],
  }
  /** What it has: what it reported last, and what it made since. */
  readonly #has = new Set<string>()
  readonly #script: Script
  readonly #waiting: { op: Op; resolve: (call: EdgeCall) => void }[] = []

  private constructor(enrolled: Enrolled, socket: WebSocket, script: Script, dialled: Dialled | null) {
    this.id = enrolled.id
    this.token = enrolled.token
    this.socket = socket
    this.#script = script
    if (dialled !== null) this.status = { ...this.status, session: dialled.session }
    socket.binaryType = 'arraybuffer'
    ScriptedRunner.#all.add(this)
    this.muxer = new Muxer({
      carrier: {
        send: (bytes) => socket.send(bytes),
        close: (error) => socket.close(closeFrame(error).code, closeFrame(error).reason),
      },
      opens: 'even',
      hello: { generation: dialled === null ? 1 : 2, role: 'runner', window: 262_144 },
      disconnected: 'edge_disconnected',
      messages: true,
      onStream: (stream, head) => void this.#serve(stream, head),
    })
    socket.addEventListener('message', ({ data }) => {
      if (data instanceof ArrayBuffer) this.muxer.receive(new Uint8Array(data))
    })
    socket.addEventListener('close', () => this.muxer.close(new AppError('edge_disconnected', 'cannot go on: closed')))
  }

  /** Dials in and waits for the edge's HELLO. */
  static async connect(
    enrolled: Enrolled,
    script: Script = {},
    dialled: Dialled | null = { session: newSession(), socket: '0/1' },
  ): Promise<ScriptedRunner> {
    const of = dialled === null ? {} : { 'portico-session': dialled.session, 'portico-socket': dialled.socket }
    const response = await ask('/v1/runner/tunnel', { key: enrolled.token, headers: { upgrade: 'websocket', ...of } })
    expect(response.status).toBe(101)
    const socket = response.webSocket as WebSocket
    const runner = new ScriptedRunner(enrolled, socket, script, dialled)
    socket.accept()
    await runner.muxer.ready
    return runner
  }

  /** Enrols, dials in and reports. */
  static async start(script: Script = {}, region = 'local'): Promise<ScriptedRunner> {
    const runner = await ScriptedRunner.connect(await enrol(region), script)
    await runner.report()
    return runner
  }

  /** Reports its status and waits until the edge has taken it. */
  async report(change: Partial<RunnerStatus> = {}): Promise<void> {
    this.status = { ...this.status, ...change }
    this.#has.clear()
    for (const { sandbox, generation } of this.status.sandboxes) this.#has.add(`${sandbox} ${generation}`)
    const { head, body } = statusCall(this.status, 2)
    await this.tell(head, body)
  }

  /** Cuts every runner of this test, and waits until the edge has noticed. */
  static async cutAll(): Promise<void> {
    for (const runner of ScriptedRunner.#all) runner.cut()
    ScriptedRunner.#all.clear()
    const connected = async () => {
      const { runners } = await adminAnswer<{ runners: { connected: boolean }[] }>('/admin/runners', { key: adminKey })
      return runners.filter((runner) => runner.connected).length
    }
    await expect.poll(connected).toBe(0)
  }

  /** Makes a call of a runner and waits for the answer. */
  async tell(head: object, body?: Uint8Array): Promise<void> {
    await call(this.muxer, head, acknowledged, { signal: AbortSignal.timeout(5000), body })
  }

  /** The next call of this kind that comes in. */
  next<Name extends Op>(op: Name): Promise<CallOf<Name>> {
    return new Promise((resolve) => this.#waiting.push({ op, resolve: (found) => resolve(found as CallOf<Name>) }))
  }

  count(op: Op): number {
    return this.calls.filter((one) => one.op === op).length
  }

  /** Goes away without a word. */
  cut(): void {
    this.socket.close(1001, 'cut')
    this.muxer.close(new AppError('edge_disconnected', 'cannot go on: cut'))
  }

  async #serve(stream: TunnelStream, head: Uint8Array): Promise<void> {
    const asked = parseHead(head, edgeCall)
    this.calls.push(asked)
    this.streamIds.push(stream.id)
    this.#make(asked)
    const at = this.#waiting.findIndex((one) => one.op === asked.op)
    if (at >= 0) this.#waiting.splice(at, 1)[0]?.resolve(asked)
    const scripted = this.#script[asked.op] as ((call: EdgeCall, stream: TunnelStream) => unknown) | undefined
    try {
      if (scripted !== undefined) return void (await scripted(asked, stream))
      this.behave(asked, stream)
    } catch (thrown) {
      refuse(stream, AppError.from(thrown).toWire())
    }
  }

  #make(asked: EdgeCall): void {
    const made =
      asked.op === 'sandbox.fork'
        ? asked.children
        : asked.op === 'sandbox.create' || asked.op === 'sandbox.restore'
          ? [asked]
          : []
    for (const { sandbox, generation } of made) this.#has.add(`${sandbox} ${generation}`)
  }

  /** What it does unless it is told otherwise. */
  behave(asked: EdgeCall, stream: TunnelStream): void {
    switch (asked.op) {
      case 'sandbox.create':
      case 'sandbox.restore':
        answer(stream, { resolved_image: asked.spec.image, create_ms: 7 })
        break
      case 'sandbox.fork':
        answer(stream, forkAnswer(asked.children))
        break
      case 'sandbox.snapshot':
        answer(stream, { size_bytes: snapshotSize })
        break
      case 'sandbox.resume':
        answer(stream, { resume_ms: 9 })
        break
      case 'sandbox.update':
      case 'snapshot.delete':
        answer(stream)
        break
      case 'sandbox.stats':
        if (!this.#has.has(`${asked.sandbox} ${asked.generation}`)) throw absent
        answer(stream, { usage: someUsage })
        break
      case 'sandbox.destroy':
      case 'sandbox.hibernate':
        answer(stream, { usage: someUsage })
        break
      case 'checkpoint.create':
        answer(stream, { size_bytes: checkpointSize, copy_ms: 8, pause_ms: 2, ready: asked.wait })
        break
      case 'checkpoint.list':
        answer(stream, { checkpoints: [] })
        break
      case 'checkpoint.wait':
        answer(stream, { size_bytes: checkpointSize })
        break
      case 'checkpoint.restore':
        answer(stream, { restore_ms: 11, started: [], stopped: [], failed: [] })
        break
      case 'checkpoint.delete':
        answer(stream)
        break
      case 'guest.image':
        answer(stream, { digest: 'sha256:0', env: {}, workdir: '/' })
        break
      case 'image.pull': {
        answer(stream)
        const lines: PullProgress[] = [
          { event: 'progress', phase: 'pull', done_bytes: 1, total_bytes: 1 },
          { event: 'done', image: pulledImage(asked.reference), took_ms: { pull: 3 } },
        ]
        for (const line of lines) void tellPull(stream, line).catch(() => undefined)
        break
      }
      case 'image.list':
        answer(stream, { images: [] })
        break
      case 'image.remove':
        answer(stream)
        break
      case 'port.request':
        answer(stream, { status: 204, headers: [] })
        break
      case 'port.socket':
        answer(stream, { status: 404, headers: [], protocol: null })
        break
      case 'guest.request':
        guestAnswers(stream, 404, {
          error: { code: 'file_not_found', message: 'cannot open the file: it does not exist' },
        })
    }
    stream.end()
  }
}

/** Refuses a call as a runner does. */
export function refusing(error: WireError): (_call: unknown, stream: TunnelStream) => void {
  return (_call, stream) => refuse(stream, error)
}
