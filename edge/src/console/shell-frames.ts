/**
 * The frames of `…/shell`, all of them JSON text. One shell runs commands one after the other; the marks that the agent puts into the output become
 * `exit`, so that what stands between two of them is exactly what that command printed.
 *
 *   up     {"type":"run","id","command"}   {"type":"signal","signal"}   {"type":"stdin","data"}   {"type":"close"}
 *   down   {"type":"session","id","offset"} first   {"type":"stdout"|"stderr","id"?,"data","offset"}   {"type":"exit","id","exit_code","duration_ms","offset"}
 *          {"type":"gap","bytes"}   {"type":"link","state","reason"?}   {"type":"error","id"?,"code","error"}   {"type":"closed","exit_code"} last
 *
 * `offset` is the place behind what the frame tells, for `from=` after a cut. An `id` counts once in a session: given again, the command is not run again
 * and its exit, if it is over, is told again. Output without `id` was printed while no command ran, by a job in the background. Output is UTF-8, put together across chunks; what is none is U+FFFD.
 */

import { z } from 'zod'
import { type Adapter, type Chunk, type Frame, type Notice, parseText, type Rest } from './frames.ts'
import { readMark, type ShellMark } from './shell-mark.ts'

const maxCommand = 1_000_000

const up = z.discriminatedUnion('type', [
  z.object({ type: z.literal('run'), id: z.string().min(1).max(128), command: z.string().max(maxCommand) }),
  z.object({ type: z.literal('signal'), signal: z.string().min(1).max(16) }),
  z.object({ type: z.literal('stdin'), data: z.string() }),
  z.object({ type: z.literal('close') }),
])

const said = (frame: object): Frame[] => [JSON.stringify(frame)]
const encoder = new TextEncoder()

export const shellFrames: Adapter = {
  joined: ({ id, offset }) => said({ type: 'session', id, offset }),
  live: () => [],
  gap: (bytes) => said({ type: 'gap', bytes }),
  chunk: (rest, chunk) => (chunk.kind === 'mark' ? marked(rest, chunk) : printed(rest, chunk.kind, chunk)),
  notice,
  read(message) {
    const parsed = typeof message === 'string' ? up.safeParse(parseText(message)) : undefined
    if (parsed?.success !== true) return undefined
    const { data } = parsed
    switch (data.type) {
      case 'run':
        return { kind: 'run', id: data.id, command: data.command }
      case 'signal':
        return { kind: 'signal', signal: data.signal }
      case 'stdin':
        return { kind: 'data', bytes: encoder.encode(data.data) }
      case 'close':
        return { kind: 'close' }
    }
  },
}

function printed(rest: Rest, kind: 'stdout' | 'stderr', { at, run, bytes }: Chunk): { frames: Frame[]; rest: Rest } {
  const before = rest[kind] ?? []
  const all = new Uint8Array(before.length + bytes.length)
  all.set(before)
  all.set(bytes, before.length)
  const whole = all.length - unfinished(all)
  const offset = at + bytes.length - (all.length - whole)
  const after = { ...rest, [kind]: [...all.subarray(whole)] }
  return { frames: whole === 0 ? [] : text(kind, run, all.subarray(0, whole), offset), rest: after }
}

/** A command's beginning or end. Characters that never came whole belong to what was before. */
function marked(rest: Rest, chunk: Chunk): { frames: Frame[]; rest: Rest } {
  const mark = readMark(chunk)
  if (mark === undefined) return { frames: [], rest }
  const run = mark.state === 'ended' ? mark.run : null
  const frames = (['stdout', 'stderr'] as const).flatMap((kind) => {
    const bytes = rest[kind] ?? []
    return bytes.length === 0 ? [] : text(kind, run, Uint8Array.from(bytes))
  })
  if (mark.state === 'started') return { frames, rest: {} }
  return { frames: [...frames, ...exit(mark, chunk.at + chunk.bytes.length)], rest: {} }
}

function exit({ run, exit_code, duration_ms }: ShellMark, offset?: number): Frame[] {
  const placed = offset === undefined ? {} : { offset }
  return said({
    type: 'exit',
    id: run,
    exit_code: exit_code ?? null,
    ...(duration_ms === undefined ? {} : { duration_ms }),
    ...placed,
  })
}

function text(kind: 'stdout' | 'stderr', run: string | null, bytes: Uint8Array, offset?: number): Frame[] {
  const placed = offset === undefined ? {} : { offset }
  return said({
    type: kind,
    ...(run === null ? {} : { id: run }),
    ...placed,
    data: new TextDecoder('utf-8', { fatal: false, ignoreBOM: true }).decode(bytes),
  })
}

/** How many bytes at the end are the beginning of a character of UTF-8. */
function unfinished(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number
    if (byte < 0x80) return 0
    if (byte < 0xc0) continue
    const needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
    return needs > back ? back : 0
  }
  return 0
}

function notice(told: Notice): Frame[] {
  switch (told.kind) {
    case 'link':
      return said({ type: 'link', state: told.state, ...(told.reason === undefined ? {} : { reason: told.reason }) })
    case 'ended':
      return exit(told.mark)
    case 'exit':
      return said({ type: 'closed', exit_code: told.ending.exit_code })
    case 'error': {
      const { code, message } = told.error
      return said({ type: 'error', ...(told.run === undefined ? {} : { id: told.run }), code, error: message })
    }
    default:
      return []
  }
}
