import { expect, test } from 'vitest'
import { type TarEntry, tarOf } from '../../../tests/kit/oci-images/tar.ts'
import { TarRefused, TarWalk } from './tar-walk.ts'

const limits = { maxBytes: 1 << 20, maxEntries: 100 }

test('an honest tar is counted, however it is cut into pieces', () => {
  const tar = Buffer.concat([
    ...tarOf([
      { path: 'folder/', type: '5' },
      { path: 'folder/file', content: 'x'.repeat(700) },
      { path: `long/${'n'.repeat(180)}`, content: 'y', attributes: { 'user.note': 'a=b\nc' } },
      { path: 'link', type: '2', link: '/../anywhere' },
      { path: 'hard', type: '1', link: 'folder/file', claims: 700 },
    ]),
  ])
  for (const step of [1, 7, 511, 512, 513, tar.length]) {
    const walk = new TarWalk(limits)
    for (let at = 0; at < tar.length; at += step) walk.push(tar.subarray(at, at + step))
    walk.end()
    expect([walk.entries, walk.bytes]).toEqual([5, 701])
  }
})

test.each<[string, TarEntry, string]>([
  ['a path that climbs', { path: 'a/../../b' }, 'escape'],
  ['a long path that climbs', { path: `${'a/'.repeat(100)}../../b` }, 'escape'],
  ['a hard link that climbs', { path: 'a', type: '1', link: '../b' }, 'escape'],
  ['a sparse file', { path: 'a', type: 'S' }, 'damaged'],
  ['a sparse file of pax', { path: 'a', attributes: { '\0': '' } }, 'damaged'],
  ['a file beyond the limit', { path: 'a', claims: 2 << 20 }, 'too-large'],
])('%s is refused', (_what, entry, kind) => {
  const bytes = Buffer.concat([...tarOf([entry])])
  const tar = entry.attributes
    ? Buffer.from(bytes.toString('latin1').replace('SCHILY.xattr.\0=', 'GNU.sparse.map=0'), 'latin1')
    : bytes
  expect(refusal(tar)).toBe(kind)
})

test('more entries than the limit are refused', () => {
  expect(refusal(Buffer.concat([...tarOf(Array.from({ length: 101 }, (_, at) => ({ path: `f${at}` })))]))).toBe(
    'too-large',
  )
})

test('a tar that is cut, changed, or none at all is refused', () => {
  const tar = Buffer.concat([...tarOf([{ path: 'a', content: 'x'.repeat(2000) }])])
  expect(refusal(tar.subarray(0, 1000))).toBe('damaged')
  const changed = Buffer.from(tar)
  changed[0] = 0x62
  expect(refusal(changed)).toBe('damaged')
  expect(refusal(Buffer.alloc(2048, 'no tar'))).toBe('damaged')
})

test('random bytes never do anything but be refused', () => {
  let seed = 7
  const next = () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return seed >>> 16
  }
  const good = Buffer.concat([...tarOf([{ path: 'ä'.repeat(90), content: 'x', attributes: { 'user.a': 'b' } }])])
  for (let round = 0; round < 300; round++) {
    const bytes = Buffer.from(good)
    for (let times = 0; times < 3; times++) bytes[next() % bytes.length] = next() & 255
    const found = refusal(bytes)
    expect(found === undefined || ['damaged', 'escape', 'too-large'].includes(found)).toBe(true)
  }
})

function refusal(tar: Uint8Array): string | undefined {
  const walk = new TarWalk(limits)
  try {
    walk.push(tar)
    walk.end()
    return undefined
  } catch (error) {
    if (error instanceof TarRefused) return error.kind
    throw error
  }
}
