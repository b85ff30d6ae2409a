/**
 * What a kept process prints, as records, and what is sent to it: `docs/protocol.md`, "Processes that are kept". The agent writes and reads the same.
 *
 *   output   kind u8 · offset u64 · length u32 · bytes     0 nothing new   1 stdout   2 stderr   3 the end   4 a gap   5 a shell's mark
 *   input    kind u8 · length u32 · bytes                  0 data   1 end   2 size   3 signal
 */

import { AppError } from './errors.ts'

/** `offset` is that of the first byte behind the record's head: whoever comes back asks for `offset` plus the bytes that came with it. */
export type OutputRecord =
  | { readonly kind: 'nothing'; readonly offset: number }
  | { readonly kind: 'stdout' | 'stderr'; readonly offset: number; readonly bytes: Uint8Array }
  /** JSON of `processEnding`. */
  | { readonly kind: 'end'; readonly offset: number; readonly json: string }
  /** So many bytes that stood before `offset` are no longer kept. */
  | { readonly kind: 'gap'; readonly offset: number; readonly lost: number }
  /** JSON of a shell's mark. */
  | { readonly kind: 'mark'; readonly offset: number; readonly json: string }

export type InputRecord =
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' }
  | { readonly kind: 'size'; readonly cols: number; readonly rows: number }
  | { readonly kind: 'signal'; readonly signal: string }

const outputHead = 13
const inputHead = 5
/** The agent's records are 64 KiB at most. */
const maxRecord = 1_048_576
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Media type of output records. */
export const recordsType = 'application/vnd.portico.records'

/** Puts output records together from pieces of any size. */
export class OutputDecoder {
  #rest: Uint8Array = new Uint8Array(0)

  /** The records that are complete with these bytes; their bytes are views, good until the next call. Throws `guest_error` for what is none. */
  push(bytes: Uint8Array): OutputRecord[] {
    const all = this.#rest.length === 0 ? bytes : joined(this.#rest, bytes)
    const view = new DataView(all.buffer, all.byteOffset, all.byteLength)
    const records: OutputRecord[] = []
    let at = 0
    while (all.length - at >= outputHead) {
      const length = view.getUint32(at + 9)
      if (length > maxRecord) throw fault(`a record has ${length} bytes`)
      if (all.length - at < outputHead + length) break
      const offset = Number(view.getBigUint64(at + 1))
      records.push(outputRecord(view.getUint8(at), offset, all.subarray(at + outputHead, at + outputHead + length)))
      at += outputHead + length
    }
    this.#rest = at === all.length ? new Uint8Array(0) : all.slice(at)
    return records
  }

  /** Whether the bytes so far end between two records. */
  get isWhole(): boolean {
    return this.#rest.length === 0
  }
}

function outputRecord(kind: number, offset: number, bytes: Uint8Array): OutputRecord {
  switch (kind) {
    case 0:
      return { kind: 'nothing', offset }
    case 1:
      return { kind: 'stdout', offset, bytes }
    case 2:
      return { kind: 'stderr', offset, bytes }
    case 3:
      return { kind: 'end', offset, json: decoder.decode(bytes) }
    case 4:
      if (bytes.length !== 8) throw fault('a gap has no length')
      return { kind: 'gap', offset, lost: Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0)) }
    case 5:
      return { kind: 'mark', offset, json: decoder.decode(bytes) }
    default:
      throw fault(`a record is of kind ${kind}`)
  }
}

/** One output record, as the agent writes it. */
export function encodeOutput(record: OutputRecord): Uint8Array {
  const [kind, payload] = outputPayload(record)
  const bytes = new Uint8Array(outputHead + payload.length)
  const view = new DataView(bytes.buffer)
  bytes[0] = kind
  view.setBigUint64(1, BigInt(record.offset))
  view.setUint32(9, payload.length)
  bytes.set(payload, outputHead)
  return bytes
}

function outputPayload(record: OutputRecord): [number, Uint8Array] {
  switch (record.kind) {
    case 'nothing':
      return [0, new Uint8Array(0)]
    case 'stdout':
      return [1, record.bytes]
    case 'stderr':
      return [2, record.bytes]
    case 'end':
      return [3, encoder.encode(record.json)]
    case 'gap': {
      const lost = new Uint8Array(8)
      new DataView(lost.buffer).setBigUint64(0, BigInt(record.lost))
      return [4, lost]
    }
    case 'mark':
      return [5, encoder.encode(record.json)]
  }
}

/** One input record. Data is at most 1 MiB. */
export function encodeInput(record: InputRecord): Uint8Array {
  const [kind, payload] = inputPayload(record)
  const bytes = new Uint8Array(inputHead + payload.length)
  bytes[0] = kind
  new DataView(bytes.buffer).setUint32(1, payload.length)
  bytes.set(payload, inputHead)
  return bytes
}

function inputPayload(record: InputRecord): [number, Uint8Array] {
  switch (record.kind) {
    case 'data':
      return [0, record.bytes]
    case 'end':
      return [1, new Uint8Array(0)]
    case 'size':
      return [2, encoder.encode(JSON.stringify({ cols: record.cols, rows: record.rows }))]
    case 'signal':
      return [3, encoder.encode(record.signal)]
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + second.length)
  whole.set(first)
  whole.set(second, first.length)
  return whole
}

function fault(why: string): AppError {
  return new AppError('guest_error', `cannot read the output of the process: ${why}`)
}
