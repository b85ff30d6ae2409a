import { expect, it } from 'vitest'
import { holdsData, parseExtents } from './extents.ts'

const printed = `Filesystem type is: ef53
File size of a is 268435456 (268435456 blocks of 1 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:  4096000..   5324799:   33177600..  34406399: 1228800:    4096000:
   1:  8192000..   8196095:   43177600..  43181695:    4096:   34406400: last,eof
a: 2 extents found
`

it('reads where a file holds something', () => {
  expect(parseExtents(printed)).toEqual([
    { from: 4_096_000, to: 5_324_800 },
    { from: 8_192_000, to: 8_196_096 },
  ])
  expect(parseExtents('a: 0 extents found\n')).toEqual([])
})

it('says nothing about what it does not understand', () => {
  expect(parseExtents('a: FIBMAP unsupported\n')).toBeUndefined()
})

it('knows whether a range holds anything, to the byte', () => {
  const extents = [{ from: 10, to: 20 }]
  expect([
    holdsData(extents, 0, 10),
    holdsData(extents, 0, 11),
    holdsData(extents, 19, 30),
    holdsData(extents, 20, 30),
  ]).toEqual([false, true, true, false])
  expect(holdsData(undefined, 0, 1)).toBe(true)
})
