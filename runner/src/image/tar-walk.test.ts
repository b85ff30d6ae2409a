import { expect, test } from 'vitest'
import { type TarEntry, tarOf } from '../../../tests/kit/oci-images/tar.ts'
import { type TarLimits, TarRefused, TarWalk } from './tar-walk.ts'

const limits = { maxBytes: 1 << 20, maxEntries: 100, freeBytes: 1 << 30, freeInodes: 1e6 }

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
    expect([walk.entries, walk.bytes, walk.diskBytes]).toEqual([5, 701, 8 * 4096])
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

const sparse = { path: 'a', type: 'S' } as const
const hidden = headerOf(sparse)
const old = (path: string): TarEntry => ({ path, type: '\0' as '0', content: hidden })
const size512 = meta('x', record('size', '512'))

test.each<[string, Uint8Array[]]>([
  ['a folder of the old kind', [...tarOf([old('x/')])]],
  ['one that a long name makes a folder', [...tarOf([meta('L', 'x/'), old('x')])]],
  ['one that a pax header makes a folder', [...tarOf([meta('x', record('path', 'x/')), old('x')])]],
  ['one whose long name counts', [...tarOf([meta('L', 'x/'), meta('x', record('path', 'x')), old('x')])]],
  ['one without a name', [...tarOf([old('')])]],
  [
    'a size that a later header takes back',
    [...tarOf([size512, meta('x', record('mtime', '1')), { path: 'b' }, sparse])],
  ],
  [
    'a size that is empty at last',
    [...tarOf([meta('x', record('size', '512') + record('size', '')), { path: 'b' }, sparse])],
  ],
  ['a size before a global header', [...tarOf([size512, meta('g', ''), { path: 'b' }, sparse])]],
  ['a size of another name', [...tarOf([meta('x', record('\ufeffsize', '512')), { path: 'b' }, sparse])]],
  [
    'a size that begins with NUL',
    [withSize('\x000000001000\x00'), headerOf({ path: 'c', claims: 512 }), ...tarOf([sparse])],
  ],
])('what Go finds behind %s is looked at', (_what, tar) => {
  expect(refusal(Buffer.concat(tar))).toBe('damaged')
})

test('after the end there is nothing but the zeros of a record', () => {
  const tar = Buffer.concat([...tarOf([{ path: 'a' }])])
  expect(refusal(Buffer.concat([tar, Buffer.alloc(20 << 10)]))).toBeUndefined()
  expect(refusal(Buffer.concat([tar, Buffer.alloc(65 << 10)]))).toBe('damaged')
  expect(refusal(Buffer.concat([tar, Buffer.alloc(512, 'x')]))).toBe('damaged')
})

test('what the disk has no room for is told as that: each file takes a block, and so does a folder that is implied', () => {
  const files = Array.from({ length: 50 }, (_, at) => ({ path: `f${at}`, content: 'x' }))
  const deep = Array.from({ length: 5 }, (_, at) => ({ path: `${at}${'/d'.repeat(40)}` }))
  for (const entries of [files, deep]) {
    const tar = Buffer.concat([...tarOf(entries)])
    expect(refusal(tar, { ...limits, freeBytes: 190_000 })).toBe('no-space')
    expect(refusal(tar, { ...limits, freeInodes: 49 })).toBe('no-space')
    expect(refusal(tar)).toBeUndefined()
  }
})

test('the figures of layers add up', () => {
  const walk = new TarWalk(limits)
  const tar = Buffer.concat([...tarOf([{ path: 'a', content: 'x'.repeat(600 << 10) }])])
  walk.push(tar)
  walk.end()
  expect(() => walk.push(tar)).toThrow('larger than')
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

function headerOf(entry: TarEntry): Buffer {
  return Buffer.concat([...tarOf([entry])]).subarray(0, 512)
}

function withSize(field: string): Buffer {
  const header = headerOf({ path: 'a' })
  header.write(field, 124, 'latin1')
  header.fill(' ', 148, 156)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

function meta(type: 'x' | 'g' | 'L', content: string): TarEntry {
  return { path: 'meta', type: type as '0', content }
}

function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  const bytes = Buffer.byteLength(rest)
  return `${bytes + (bytes < 9 ? 1 : 2)}${rest}`
}

function refusal(tar: Uint8Array, within: TarLimits = limits): string | undefined {
  const walk = new TarWalk(within)
  try {
    walk.push(tar)
    walk.end()
    return undefined
  } catch (error) {
    if (error instanceof TarRefused) return error.kind
    throw error
  }
}
