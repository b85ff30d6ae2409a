import fc from 'fast-check'
import { expect, it } from 'vitest'
import { RunCollector } from './pagemap.ts'

/** Upper halves of entries, as the kernel documents them. */
const kinds = {
  untouched: 0,
  readOnly: 0xa0000000,
  own: 0x80000000,
  ownSoftDirty: 0x80800000,
  swapped: 0x40000000,
  sharedSwapped: 0x60000000,
} as const
type Kind = keyof typeof kinds

const isOwn = (kind: Kind) =>
  kind === 'own' || kind === 'ownSoftDirty' || kind === 'swapped' || kind === 'sharedSwapped'

function collect(parts: readonly (readonly Kind[])[]) {
  const collector = new RunCollector()
  for (const part of parts) collector.add(Uint32Array.from(part.flatMap((kind) => [0xffffffff, kinds[kind]])))
  return collector.end()
}

it('takes pages that were written or swapped out, and none that only the file has', () => {
  expect(collect([['untouched', 'own', 'ownSoftDirty', 'readOnly', 'swapped']])).toEqual([
    { first: 1, count: 2 },
    { first: 4, count: 1 },
  ])
})

it('says the same however the entries were cut', () => {
  const kind = fc.constantFrom<Kind>(...(Object.keys(kinds) as Kind[]))
  fc.assert(
    fc.property(fc.array(fc.array(kind, { maxLength: 12 }), { maxLength: 6 }), (parts) => {
      const all = parts.flat()
      const runs = collect(parts)
      expect(runs).toEqual(collect([all]))
      const pages = runs.flatMap(({ first, count }) => Array.from({ length: count }, (_, at) => first + at))
      expect(pages).toEqual(all.flatMap((one, page) => (isOwn(one) ? [page] : [])))
      for (const [at, run] of runs.entries())
        if (at > 0) expect(run.first).toBeGreaterThan((runs[at - 1]?.first ?? 0) + (runs[at - 1]?.count ?? 0))
    }),
  )
})
