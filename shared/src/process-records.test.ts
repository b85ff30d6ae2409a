/** The records of a process's output and input: the same in both languages, however they are cut, and safe against whatever a guest sends. */

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cut, fromHex } from '../testing/vectors.ts'
import { AppError } from './errors.ts'
import { encodeInput, encodeOutput, type InputRecord, OutputDecoder, type OutputRecord } from './process-records.ts'

interface OutputVector {
  readonly name: string
  readonly hex: string
  readonly kind: OutputRecord['kind']
  readonly offset: number
  readonly text?: string
  readonly lost?: number
}

interface InputVector {
  readonly name: string
  readonly hex: string
  readonly kind: InputRecord['kind']
  readonly text: string
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/process-records.json', import.meta.url), 'utf8')) as {
  output: readonly OutputVector[]
  input: readonly InputVector[]
}

const encoder = new TextEncoder()
const bytes = fc.uint8Array({ maxLength: 400 })
const offset = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const record: fc.Arbitrary<OutputRecord> = fc.oneof(
  fc.record({ kind: fc.constant('nothing'), offset }),
  fc.record({ kind: fc.constantFrom('stdout', 'stderr'), offset, bytes }),
  fc.record({ kind: fc.constantFrom('end', 'mark'), offset, json: fc.json() }),
  fc.record({ kind: fc.constant('gap'), offset, lost: offset }),
)

/** Copies, as what a decoder hands out is good until it is given more. */
function decode(pieces: readonly Uint8Array[]): { records: OutputRecord[]; decoder: OutputDecoder } {
  const decoder = new OutputDecoder()
  const records: OutputRecord[] = []
  for (const piece of pieces) {
    for (const one of decoder.push(piece)) {
      records.push('bytes' in one ? { ...one, bytes: Uint8Array.from(one.bytes) } : one)
    }
  }
  return { records, decoder }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

/** The bytes of a head that says so much follows. */
function head(kind: number, length: number): Uint8Array {
  const made = new Uint8Array(13)
  made[0] = kind
  new DataView(made.buffer).setUint32(9, length)
  return made
}

function refusal(run: () => unknown): unknown {
  try {
    run()
  } catch (thrown) {
    return thrown
  }
  return undefined
}

describe('output', () => {
  test.each(vectors.output)('of the agent is read: $name', ({ hex, kind, offset, text, lost }) => {
    const { records } = decode([fromHex(hex)])
    const expected = {
      kind,
      offset,
      ...(kind === 'stdout' || kind === 'stderr' ? { bytes: encoder.encode(text) } : {}),
      ...(kind === 'end' || kind === 'mark' ? { json: text } : {}),
      ...(lost === undefined ? {} : { lost }),
    }
    expect(records).toEqual([expected])
    expect(encodeOutput(records[0] as OutputRecord)).toEqual(fromHex(hex))
  })

  test('is the same records however its bytes are cut', () => {
    const property = fc.property(fc.array(record, { maxLength: 12 }), fc.array(fc.nat(40)), (records, places) => {
      const whole = joined(records.map(encodeOutput))
      const { records: read, decoder } = decode(cut(whole, places))
      expect(read).toEqual(records)
      expect(decoder.isWhole).toBe(true)
    })
    fc.assert(property, { numRuns: 300 })
  })

  test('that breaks off within a record is not whole', () => {
    const property = fc.property(record, fc.nat(), (one, at) => {
      const whole = encodeOutput(one)
      const { records, decoder } = decode([whole.subarray(0, 1 + (at % (whole.length - 1)))])
      expect(records).toEqual([])
      expect(decoder.isWhole).toBe(false)
    })
    fc.assert(property)
  })

  test('of any bytes is records or a guest_error, and never holds more than one record', () => {
    const property = fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), (pieces) => {
      const thrown = refusal(() => decode(pieces))
      if (thrown !== undefined) expect(thrown).toMatchObject({ code: 'guest_error' })
    })
    fc.assert(property, { numRuns: 500 })
  })

  test.each([0x0010_0001, 0x7fff_ffff, 0xffff_ffff])('that announces %i bytes is refused at its head', (length) => {
    const thrown = refusal(() => decode([head(1, length)]))
    expect(thrown).toBeInstanceOf(AppError)
    expect(thrown).toMatchObject({ code: 'guest_error' })
  })

  test('of a kind that nobody knows, or a gap without a length, is refused', () => {
    expect(refusal(() => decode([head(6, 0)]))).toMatchObject({ code: 'guest_error' })
    expect(refusal(() => decode([head(4, 0)]))).toMatchObject({ code: 'guest_error' })
  })
})

describe('input', () => {
  test.each(vectors.input)('is written as the agent reads it: $name', ({ hex, kind, text }) => {
    const size = kind === 'size' ? (JSON.parse(text) as { cols: number; rows: number }) : { cols: 0, rows: 0 }
    const made: Record<InputRecord['kind'], InputRecord> = {
      data: { kind: 'data', bytes: encoder.encode(text) },
      end: { kind: 'end' },
      size: { kind: 'size', ...size },
      signal: { kind: 'signal', signal: text },
    }
    expect(encodeInput(made[kind])).toEqual(fromHex(hex))
  })
})
