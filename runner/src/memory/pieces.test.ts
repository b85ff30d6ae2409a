import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type PageRun, pageBytes, totalPages } from './page-set.ts'
import { Pieces } from './pieces.ts'
import { maxPieceBytes } from './transfer.ts'

const address = 0x7f00_0000_0000

/** Runs in order that do not touch. */
const runs = fc
  .array(fc.record({ gap: fc.nat(5), count: fc.integer({ min: 1, max: 600 }) }), { maxLength: 12 })
  .map((parts) => {
    let page = 0
    return parts.map(({ gap, count }): PageRun => {
      const first = page + gap + 1
      page = first + count
      return { first, count }
    })
  })

it('covers every page of the runs once and in order, whatever buffers it is given', () => {
  fc.assert(
    fc.property(runs, fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 8 }), (all, sizes) => {
      const walk = new Pieces(all, address)
      const pages: number[] = []
      for (let turn = 0; !walk.done; turn++) {
        const buffer = new Uint8Array((sizes[turn % sizes.length] ?? 1) * pageBytes)
        let filled = 0
        for (const piece of walk.fill(buffer)) {
          expect(piece.buffer).toBe(buffer)
          expect(piece.from).toBe(filled)
          expect(piece.bytes).toBeLessThanOrEqual(maxPieceBytes)
          filled += piece.bytes
          for (let at = 0; at < piece.bytes; at += pageBytes) pages.push((piece.address - address + at) / pageBytes)
        }
        expect(walk.done || filled === buffer.length).toBe(true)
      }
      expect(pages).toEqual(all.flatMap(({ first, count }) => Array.from({ length: count }, (_, at) => first + at)))
      expect(pages.length).toBe(totalPages(all))
    }),
    { numRuns: 50 },
  )
})

it('refuses a buffer that ends within a page', () => {
  const walk = new Pieces([{ first: 0, count: 2 }], address)
  expect(() => walk.fill(new Uint8Array(pageBytes + 1))).toThrow('parts of pages')
})
