/**
 * Processes of the wire server. What they print is a log of records with offsets, of which a stated number of bytes is kept; what they do is a script: a function of
 * the test, or the guest that answers `exec`, whose answer is printed.
 */

import type { ServerResponse } from 'node:http'
import { type ProcessEnding, type ProcessRecord, type SpawnRequest, spawnRequest } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { recordsType } from '@portico/shared/process-records'
import { parse, type SeenRequest } from './wire-request.ts'

type Kind = 'nothing' | 'stdout' | 'stderr' | 'end' | 'gap'

const kinds: Readonly<Record<Kind, number>> = { nothing: 0, stdout: 1, stderr: 2, end: 3, gap: 4 }

/** As much as one record holds. */
const pieceBytes = 32_768

/** What a process does until it ends. */
export type Script = (process: WireProcess, request: SpawnRequest, seen: SeenRequest) => unknown

export class WireProcess {
  readonly id: string
  readonly request: SpawnRequest
  readonly signals: string[] = []
  stdin = Buffer.alloc(0)
  isStdinOpen: boolean
  size: { cols: number; rows: number } | undefined
  ending: ProcessEnding | undefined
  #log: { kind: 'stdout' | 'stderr'; at: number; bytes: Buffer }[] = []
  #start = 0
  #end = 0
  readonly #watchers = new Set<() => void>()

  constructor(id: string, request: SpawnRequest) {
    this.id = id
    this.request = request
    this.size = request.tty
    this.stdin = Buffer.from(request.stdin ?? '')
    this.isStdinOpen = request.stdin_open === true || request.tty !== undefined
  }

  print(kind: 'stdout' | 'stderr', bytes: string | Uint8Array): void {
    const whole = Buffer.from(bytes as Uint8Array)
    for (let at = 0; at < whole.length; at += pieceBytes) {
      const piece = whole.subarray(at, at + pieceBytes)
      this.#log.push({ kind, at: this.#end, bytes: piece })
      this.#end += piece.length
    }
    this.#changed()
  }

  /** Forgets what was printed until now. */
  forget(): void {
    this.#start = this.#end
    this.#log = []
  }

  exit(code: number, about: Partial<ProcessEnding> = {}): void {
    if (this.ending !== undefined) return
    this.ending = { exit_code: code, timed_out: false, duration_ms: 3, ...about }
    this.isStdinOpen = false
    this.#changed()
  }

  signal(name: string): void {
    this.signals.push(name)
    if (name === 'SIGKILL') this.exit(137, { signal: name })
    this.#changed()
  }

  take(at: number, bytes: Buffer, close: boolean): void {
    if (at > this.stdin.length) throw new AppError('conflict', 'cannot write: bytes before these are missing')
    const fresh = bytes.subarray(this.stdin.length - at)
    if (fresh.length > 0 && !this.isStdinOpen) throw new AppError('conflict', 'cannot write: its input is closed')
    this.stdin = Buffer.concat([this.stdin, fresh])
    if (close) this.isStdinOpen = false
    this.#changed()
  }

  resize(size: { cols: number; rows: number }): void {
    this.size = size
    this.#changed()
  }

  /** Resolves when something of it has changed so that this is true. */
  async until(is: () => boolean): Promise<void> {
    while (!is()) await this.changed()
  }

  changed(): Promise<void> {
    return new Promise((resolve) => {
      const once = () => {
        this.#watchers.delete(once)
        resolve()
      }
      this.#watchers.add(once)
    })
  }

  get record(): ProcessRecord {
    const { command } = this.request
    return {
      id: this.id,
      pid: 100,
      argv: typeof command === 'string' ? ['/bin/sh', '-c', command] : command,
      started_at: '2026-01-02T03:04:05.000Z',
      state: this.ending === undefined ? 'running' : 'exited',
      tty: this.request.tty !== undefined,
      output_start: this.#start,
      output_end: this.#end,
      stdin_end: this.stdin.length,
      ...(this.ending === undefined ? {} : { ending: this.ending }),
    }
  }

  /** Records from an offset on, and the offset behind them. */
  records(from: number): { readonly bytes: Buffer; readonly to: number } {
    const parts: Buffer[] = []
    if (from < this.#start) parts.push(record('gap', this.#start, lengthOf(this.#start - from)))
    for (const { kind, at, bytes } of this.#log) {
      const skip = Math.max(0, from - at)
      if (skip < bytes.length) parts.push(record(kind, at + skip, bytes.subarray(skip)))
    }
    return { bytes: Buffer.concat(parts), to: Math.max(this.#end, from) }
  }

  endRecord(): Buffer {
    return record('end', this.#end, Buffer.from(JSON.stringify(this.ending)))
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }
}

export class WireProcesses {
  readonly all = new Map<string, WireProcess>()
  script: Script
  /** Ends an output after so many bytes, once each. */
  readonly cuts: number[] = []

  constructor(script: Script) {
    this.script = script
  }

  /** The only one there is. */
  get only(): WireProcess {
    const [process, ...others] = this.all.values()
    if (process === undefined || others.length > 0) throw new Error(`there are ${this.all.size} processes`)
    return process
  }

  /** Answers a request below `…/processes`. */
  async answer(seen: SeenRequest, response: ServerResponse, [id, verb]: readonly string[]): Promise<void> {
    if (id === undefined) {
      if (seen.method === 'GET')
        return json(response, 200, { processes: [...this.all.values()].map((one) => one.record) })
      return json(response, 201, this.#start(seen).record)
    }
    const process = this.all.get(id)
    if (process === undefined) throw new AppError('not_found', `cannot find the process ${id}`)
    switch (verb) {
      case 'output':
        return await this.#output(process, seen, response)
      case 'stdin':
        process.take(Number(seen.query.get('at')), seen.body, seen.query.get('close') === 'true')
        return json(response, 200, { stdin_end: process.stdin.length })
      case 'signal':
        process.signal(JSON.parse(seen.body.toString()).signal)
        return json(response, 200, process.record)
      case 'resize':
        process.resize(JSON.parse(seen.body.toString()))
        return json(response, 200, process.record)
      case 'wait':
        while (process.ending === undefined && !response.destroyed)
          await Promise.race([process.changed(), seen.abandoned])
        return json(response, 200, process.record)
    }
    if (seen.method === 'DELETE') {
      process.signal('SIGKILL')
      this.all.delete(id)
    }
    json(response, 200, process.record)
  }

  #start(seen: SeenRequest): WireProcess {
    const request = parse(spawnRequest, seen)
    const process = new WireProcess(`proc${String(this.all.size).padStart(16, '0')}`, request)
    this.all.set(process.id, process)
    void (async () => this.script(process, request, seen))().catch((error: unknown) => {
      process.print('stderr', String(error))
      process.exit(125)
    })
    return process
  }

  async #output(process: WireProcess, seen: SeenRequest, response: ServerResponse): Promise<void> {
    await printRecords(process, seen, response, this.cuts.shift())
  }
}

/** Answers with what a process has printed, and prints; ends the answer after so many bytes. */
export async function printRecords(
  process: WireProcess,
  seen: SeenRequest,
  response: ServerResponse,
  cut = Number.POSITIVE_INFINITY,
): Promise<void> {
  let at = Number(seen.query.get('from') ?? 0)
  let left = cut
  response.writeHead(200, { 'content-type': recordsType })
  response.write(record('nothing', at, Buffer.alloc(0)))
  const follows = seen.query.get('follow') !== 'false'
  while (!response.destroyed) {
    const { bytes, to } = process.records(at)
    at = to
    const whole = process.ending === undefined ? bytes : Buffer.concat([bytes, process.endRecord()])
    response.write(whole.subarray(0, left))
    if (whole.length > left) return void response.socket?.end(() => response.destroy())
    left -= whole.length
    if (process.ending !== undefined || !follows) return void response.end()
    await Promise.race([process.changed(), seen.abandoned])
  }
}

function record(kind: Kind, offset: number, bytes: Buffer): Buffer {
  const head = Buffer.alloc(13)
  head.writeUInt8(kinds[kind])
  head.writeBigUInt64BE(BigInt(offset), 1)
  head.writeUInt32BE(bytes.length, 9)
  return Buffer.concat([head, bytes])
}

function lengthOf(lost: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(lost))
  return bytes
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}
