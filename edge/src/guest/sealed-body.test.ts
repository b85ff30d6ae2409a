import { describe, expect, test } from 'vitest'
import { seal, sealedPiece, unsealed } from './sealed-body.ts'

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size)
}

async function read(pieces: AsyncIterable<Uint8Array>): Promise<number[]> {
  const out: number[] = []
  for await (const piece of unsealed(pieces)) out.push(...piece)
  return out
}

describe('a sealed body', () => {
  const parts = [Uint8Array.of(1), new Uint8Array(300).fill(7), Uint8Array.of(0, 0, 0, 0)]
  const whole = new Uint8Array([...parts.flatMap((part) => [...sealedPiece(part)]), ...seal()])

  test('is the same however it is cut', async () => {
    for (const size of [1, 2, 3, 5, 64, 1000]) {
      expect(await read(cut(whole, size))).toEqual(parts.flatMap((part) => [...part]))
    }
    expect(await read(cut(seal(), 1))).toEqual([])
  })

  test('is refused wherever it breaks off', async () => {
    for (const length of [0, 1, 4, 5, 200, whole.length - 4, whole.length - 1]) {
      await expect(read(cut(whole.subarray(0, length), 64))).rejects.toThrow('broke off')
    }
  })
})
