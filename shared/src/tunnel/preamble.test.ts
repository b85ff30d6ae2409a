import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cut, fromHex, join, vectors } from '../../testing/vectors.ts'
import { AppError } from '../errors.ts'
import { maxDiscarded } from './limits.ts'
import { EchoFinder, flushBytes, newNonce, PreambleFinder, preamble, preambleMark } from './preamble.ts'

interface Outcome {
  readonly nonce?: Buffer
  readonly rest?: Buffer
  readonly waiting?: true
  readonly error?: string
}

function find(chunks: readonly Uint8Array[]): Outcome {
  const finder = new PreambleFinder()
  for (const [index, chunk] of chunks.entries())
    try {
      const found = finder.push(chunk)
      const rest = found && join([found.rest, ...chunks.slice(index + 1)])
      if (found && rest) return { nonce: Buffer.from(found.nonce), rest: Buffer.from(rest) }
    } catch (error) {
      return { error: AppError.from(error).code }
    }
  return { waiting: true }
}

function await8(nonce: Uint8Array, chunks: readonly Uint8Array[]): Outcome & { readonly restarts: number } {
  let restarts = 0
  const finder = new EchoFinder(nonce, () => {
    restarts++
    return nonce
  })
  for (const [index, chunk] of chunks.entries())
    try {
      const rest = finder.push(chunk)
      if (rest) return { rest: Buffer.from(join([rest, ...chunks.slice(index + 1)])), restarts }
    } catch (error) {
      return { error: AppError.from(error).code, restarts }
    }
  return { waiting: true, restarts }
}

describe('the runner finds the preamble', () => {
  for (const vector of vectors.preamble.runner)
    test(vector.name, () => {
      const bytes = fromHex(vector.hex)
      const chunkings = vector.atOnce ? [[bytes]] : [[bytes], cut(bytes, [1, 7, 8, 9, 15, 16, 17, 1000])]
      for (const chunks of chunkings) {
        const outcome = find(chunks)
        if (vector.error) expect(outcome.error).toBe('protocol_error')
        else if (vector.waiting) expect(outcome).toEqual({ waiting: true })
        else expect(outcome).toEqual({ nonce: buffer(vector.nonce), rest: buffer(vector.rest) })
      }
    })

  test('in any chunking, after any leftovers', () => {
    const leftovers = fc.array(fc.constantFrom(...preambleMark, 0xff, 0x50, 0x50), { maxLength: 40 })
    fc.assert(
      fc.property(leftovers, fc.uint8Array({ maxLength: 20 }), fc.array(fc.nat(80)), (before, nonceSeed, at) => {
        const nonce = join([nonceSeed, new Uint8Array(8)]).slice(0, 8)
        const bytes = join([Uint8Array.from(before), preamble(nonce), Uint8Array.of(0, 0, 0, 0)])
        expect(find(cut(bytes, at))).toEqual({ nonce: Buffer.from(nonce), rest: Buffer.from([0, 0, 0, 0]) })
      }),
    )
  })

  test('random bytes end in an error within the limit', () => {
    const finder = new PreambleFinder()
    const chunk = new Uint8Array(65_536).fill(0x50)
    expect(() => {
      for (let count = 0; count <= maxDiscarded; count += chunk.length) finder.push(chunk)
    }).toThrow('cannot start the session: no preamble')
  })
})

describe('the agent finds its echo', () => {
  for (const vector of vectors.preamble.agent)
    test(vector.name, () => {
      const bytes = fromHex(vector.hex)
      for (const chunks of [[bytes], cut(bytes, [1, 4, 9, 65_536, 65_540])]) {
        const outcome = await8(fromHex(vector.nonce), chunks)
        expect(outcome.restarts).toBe(vector.restarts ?? 0)
        if (vector.error) expect(outcome.error).toBe('protocol_error')
        else if (vector.waiting) expect(outcome.waiting).toBe(true)
        else expect(outcome.rest).toEqual(buffer(vector.rest))
      }
    })

  test('in any chunking, after anything that is not it', () => {
    const small = fc.array(fc.constantFrom(0, 1), { minLength: 8, maxLength: 8 })
    fc.assert(
      fc.property(small, fc.array(fc.constantFrom(0, 1), { maxLength: 60 }), fc.array(fc.nat(80)), (own, bytes, at) => {
        const nonce = Uint8Array.from(own)
        const stream = join([Uint8Array.from(bytes), nonce])
        const first = Buffer.from(stream).indexOf(nonce)
        expect(await8(nonce, cut(stream, at)).rest).toEqual(Buffer.from(stream.subarray(first + 8)))
      }),
    )
  })

  test('a flush after any frame in progress asks for one preamble at most', () => {
    fc.assert(
      fc.property(fc.nat(65_552), (swallowed) => {
        const { restarts } = await8(newNonce(), [flushBytes().subarray(swallowed)])
        expect(restarts).toBe(swallowed < 8 ? 1 : 0)
      }),
    )
  })
})

test('a nonce is 8 fresh bytes', () => {
  expect(newNonce()).toHaveLength(8)
  expect(Buffer.from(newNonce()).equals(newNonce())).toBe(false)
})

test('mark, flush and limit are those of the vectors', () => {
  expect(Buffer.from(preambleMark)).toEqual(Buffer.from(fromHex(vectors.preamble.magic)))
  expect(Buffer.from(flushBytes()).equals(fromHex(vectors.preamble.flush))).toBe(true)
  expect(vectors.preamble.maxDiscarded).toBe(maxDiscarded)
})

function buffer(hex: string | undefined): Buffer {
  return Buffer.from(fromHex(hex ?? ''))
}
