/** Any interleaving of what commands print and of their marks, cut into pieces anywhere, gives frames in order with the right ids. */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Chunk, Rest } from './frames.ts'
import { shellFrames } from './shell-frames.ts'
import { readMark } from './shell-mark.ts'

type Printed = { readonly stream: 'stdout' | 'stderr'; readonly text: string }
interface Ran {
  readonly prints: readonly Printed[]
  readonly code: number
  readonly background: readonly Printed[]
}

const printed = fc.record({
  stream: fc.constantFrom('stdout' as const, 'stderr' as const),
  text: fc.string({ unit: fc.constantFrom('a', '\n', 'é', '漢', '🙂', '\u0000'), maxLength: 8 }),
})
const runs = fc.array(
  fc.record({
    prints: fc.array(printed, { maxLength: 5 }),
    code: fc.integer({ min: 0, max: 255 }),
    background: fc.array(printed, { maxLength: 2 }),
  }),
  { maxLength: 5 },
)
const encoder = new TextEncoder()

/** The log of a shell: marks and outputs, each output cut where `cuts` says. */
function logOf(all: readonly Ran[], cut: () => number): Chunk[] {
  const chunks: Chunk[] = []
  let at = 0
  const add = (kind: Chunk['kind'], run: string | null, bytes: Uint8Array) => {
    chunks.push({ at, kind, run, bytes })
    at += bytes.length
  }
  const print = (run: string | null, { stream, text }: Printed) => {
    let rest = encoder.encode(text)
    while (rest.length > 0) {
      const length = Math.min(rest.length, 1 + cut())
      add(stream, run, rest.subarray(0, length))
      rest = rest.subarray(length)
    }
  }
  all.forEach(({ prints, code, background }, index) => {
    const run = `run-${index}`
    add('mark', null, encoder.encode(JSON.stringify({ run, state: 'started' })))
    for (const one of prints) print(run, one)
    add('mark', null, encoder.encode(JSON.stringify({ run, state: 'ended', exit_code: code, duration_ms: 1 })))
    for (const one of background) print(null, one)
  })
  return chunks
}

/** What a viewer gets of the chunks, frames of the same kind and id put together. */
function seen(chunks: readonly Chunk[]): { frames: Record<string, unknown>[]; texts: Map<string, string> } {
  let rest: Rest = {}
  const frames: Record<string, unknown>[] = []
  const texts = new Map<string, string>()
  for (const chunk of chunks) {
    const out = shellFrames.chunk(rest, chunk)
    rest = structuredClone(out.rest)
    for (const frame of out.frames) {
      const event = JSON.parse(String(frame)) as Record<string, unknown>
      frames.push(event)
      const name = `${event.id ?? 'background'} ${event.type}`
      if (event.type !== 'exit') texts.set(name, (texts.get(name) ?? '') + String(event.data))
    }
  }
  return { frames, texts }
}

describe('the frames of a shell', () => {
  test('tell each command what it printed, its exit last, in order', () => {
    fc.assert(
      fc.property(runs, fc.array(fc.nat(5), { minLength: 1, maxLength: 20 }), (all, cuts) => {
        let next = 0
        const { frames, texts } = seen(logOf(all, () => cuts[next++ % cuts.length] ?? 0))
        expect(frames.filter(({ type }) => type === 'exit')).toMatchObject(
          all.map(({ code }, index) => ({ id: `run-${index}`, exit_code: code })),
        )
        let ended = -1
        for (const frame of frames) {
          if (frame.id === undefined) continue
          const index = Number(String(frame.id).slice(4))
          expect(index).toBe(ended + 1)
          if (frame.type === 'exit') ended = index
        }
        all.forEach(({ prints }, index) => {
          for (const stream of ['stdout', 'stderr'] as const) {
            const whole = prints.flatMap((one) => (one.stream === stream ? [one.text] : [])).join('')
            expect(texts.get(`run-${index} ${stream}`) ?? '').toBe(whole)
          }
        })
      }),
    )
  })

  test('have offsets behind which a new viewer gets exactly the rest', () => {
    fc.assert(
      fc.property(runs, fc.nat(), (all, pick) => {
        const chunks = logOf(all, () => 3)
        const { frames } = seen(chunks)
        const exits = frames.filter(({ type }) => type === 'exit')
        const exit = exits[pick % Math.max(1, exits.length)]
        if (exit === undefined) return
        const later = seen(chunks.filter(({ at }) => at >= Number(exit.offset)))
        expect(later.frames).toEqual(frames.slice(frames.indexOf(exit) + 1))
      }),
    )
  })

  test('show bytes that are no characters as such, and lose none of the others', () => {
    const chunks: Chunk[] = [
      { at: 0, kind: 'stdout', run: 'r', bytes: Uint8Array.of(0x61, 0xff, 0xe2, 0x82) },
      { at: 4, kind: 'mark', run: null, bytes: encoder.encode('{"run":"r","state":"ended","exit_code":0}') },
    ]
    expect(seen(chunks).texts.get('r stdout')).toBe('a\ufffd\ufffd')
  })

  test('are read only as they are written', () => {
    for (const text of [
      '',
      'x',
      '[]',
      '{"type":"run","id":"","command":"x"}',
      '{"type":"run","id":"1"}',
      '{"type":"boom"}',
    ]) {
      expect(shellFrames.read(text)).toBeUndefined()
    }
    expect(shellFrames.read(new ArrayBuffer(3))).toBeUndefined()
    expect(shellFrames.read('{"type":"run","id":"1","command":"ls"}')).toEqual({ kind: 'run', id: '1', command: 'ls' })
    expect(readMark({ bytes: encoder.encode('{"run":1}') })).toBeUndefined()
  })
})
