/**
 * What a process prints, followed from an offset to its end. The offsets go on through both of its outputs, so that who lost the connection goes on where it
 * stood. What the sandbox no longer keeps is told as a gap. Nothing is read ahead of whoever consumes it.
 */

import { processEnding } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { OutputDecoder, type OutputRecord, recordsType } from '@portico/shared/process-records'
import { makeError, type PorticoError } from './errors.ts'
import { followIdleMs, shortMs, silenceSec } from './limits.ts'
import { Reattachment } from './reattachment.ts'
import type { Call, Transport } from './transport.ts'

/** How to follow. */
export interface FollowOptions {
  /** The offset of the first byte that is wanted; 0 unless told. */
  readonly from?: number | undefined
  /** A slow reader slows the process down and misses nothing; so it is unless told. Otherwise the process goes on and the reader may be told of a gap. */
  readonly hold?: boolean | undefined
  /** For how long nothing may be heard of the process before it is given up, in seconds; 300 unless told. */
  readonly silenceSec?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** What to read of what was printed. */
export interface PrintedOptions {
  /** The offset of the first byte that is wanted; 0 unless told. */
  readonly from?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** A piece of output, or a hole in it. `offset` is that of its first byte; of a gap that of the byte behind it. */
export type ProcessOutput =
  | { readonly type: 'stdout' | 'stderr'; readonly offset: number; readonly bytes: Uint8Array }
  /** So many bytes are gone for good: nobody held them, and they no longer fit. */
  | { readonly type: 'gap'; readonly offset: number; readonly lost: number }

/** How a process ended. */
export interface ProcessExit {
  /** 128 + signal where a signal ended it, 124 where its timeout did, 126 or 127 where it could not be started. */
  readonly exitCode: number
  readonly signal: string | undefined
  readonly timedOut: boolean
  readonly durationMs: number
}

/** @internal */
export type Followed = ProcessOutput | { readonly type: 'end'; readonly exit: ProcessExit }

/** @internal What a process prints until it ends, whatever happens to the connection. `path` is the process's. */
export async function* follow(
  transport: Transport,
  path: string,
  { hold = true, ...options }: FollowOptions,
): AsyncGenerator<Followed, void> {
  const source = {
    doing: 'follow the process',
    at: (from: number) => `${path}/output?from=${from}&follow=true&hold=${hold}`,
  }
  yield* followRecords(transport, source, options)
}

/** @internal Where records of output come from. */
export interface RecordSource {
  /** Completes "cannot …". */
  readonly doing: string
  /** Path and query of the records from an offset on. */
  readonly at: (from: number) => string
}

/** @internal Records from an offset to the end that they tell of. */
export async function* followRecords(
  transport: Transport,
  { doing, at: pathAt }: RecordSource,
  { from = 0, silenceSec: allowed = silenceSec, signal }: Omit<FollowOptions, 'hold'>,
): AsyncGenerator<Followed, void> {
  const attached = new Reattachment(transport.clock, allowed)
  let at = from
  for (;;) {
    try {
      for await (const record of attach(transport, { doing, path: pathAt(at), signal })) {
        attached.heard()
        at = behind(record)
        const item = followed(record)
        if (item === undefined) continue
        yield item
        if (item.type === 'end') return
      }
      await attached.again(cut(doing), signal)
    } catch (error) {
      await attached.again(error, signal)
    }
  }
}

/** @internal What is kept of its output now. */
export async function* printed(
  transport: Transport,
  path: string,
  { from = 0, signal }: PrintedOptions,
): AsyncGenerator<ProcessOutput, void> {
  const at = (offset: number) => `${path}/output?from=${offset}&follow=false`
  yield* printedRecords(transport, { doing: 'follow the process', at }, { from, signal })
}

/** @internal Records that are there now. */
export async function* printedRecords(
  transport: Transport,
  { doing, at }: RecordSource,
  { from = 0, signal }: PrintedOptions,
): AsyncGenerator<ProcessOutput, void> {
  for await (const record of attach(transport, { doing, path: at(from), signal })) {
    const item = followed(record)
    if (item !== undefined && item.type !== 'end') yield item
  }
}

/** @internal What is printed, without how it ended. */
export async function* withoutEnd(all: AsyncGenerator<Followed, void>): AsyncGenerator<ProcessOutput, void> {
  for await (const item of all) if (item.type !== 'end') yield item
}

async function* attach(
  transport: Transport,
  asked: Pick<Call, 'doing' | 'path' | 'signal'>,
): AsyncGenerator<OutputRecord, void> {
  const call = { method: 'GET', limitMs: shortMs, accept: recordsType, idleMs: followIdleMs } as const
  const body = await transport.stream({ ...call, ...asked })
  const decoder = new OutputDecoder()
  const reader = body.getReader()
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield* decoded(decoder, piece.value)
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

function decoded(decoder: OutputDecoder, bytes: Uint8Array): OutputRecord[] {
  try {
    return decoder.push(bytes)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const facts = { code: 'protocol_error', message: error.message, status: 0, retryable: false } as const
    throw makeError(facts)
  }
}

/** The offset that follows. */
function behind(record: OutputRecord): number {
  return 'bytes' in record ? record.offset + record.bytes.length : record.offset
}

function followed(record: OutputRecord): Followed | undefined {
  switch (record.kind) {
    case 'stdout':
    case 'stderr':
      return { type: record.kind, offset: record.offset, bytes: record.bytes.slice() }
    case 'gap':
      return { type: 'gap', offset: record.offset, lost: record.lost }
    case 'end':
      return { type: 'end', exit: exitOf(record.json) }
    case 'nothing':
    case 'mark':
      return undefined
  }
}

function exitOf(json: string): ProcessExit {
  const { exit_code, signal, timed_out, duration_ms } = processEnding.parse(JSON.parse(json))
  return { exitCode: exit_code, signal, timedOut: timed_out, durationMs: duration_ms }
}

function cut(doing: string): PorticoError {
  const message = `cannot ${doing}: its output broke off`
  return makeError({ code: 'unreachable', message, status: 0, retryable: true })
}
