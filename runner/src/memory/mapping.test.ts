import { expect, it } from 'vitest'
import { findMapping } from './mapping.ts'

const file = { dev: 0xfd00n, ino: 42n, size: 0x3000n }

const maps = (...lines: string[]) => ['5500-5600 r--p 00000000 fd:00 7   /usr/bin/qemu', ...lines, ''].join('\n')

it('finds the mapping of a file by its number, whatever it is called there', () => {
  expect(findMapping(maps('7f0000000000-7f0000003000 rw-p 00000000 fd:00 42   /elsewhere (deleted)'), file)).toEqual({
    address: 0x7f0000000000,
    bytes: 0x3000,
  })
})

it('joins the parts of one mapping', () => {
  const text = maps('10000-11000 rw-p 00000000 fd:00 42 /a', '11000-13000 rw-p 00001000 fd:00 42 /a')
  expect(findMapping(text, file)).toEqual({ address: 0x10000, bytes: 0x3000 })
})

it('knows devices with large numbers', () => {
  const large = { ...file, dev: (0x12345n << 32n) | 0x6789n }
  const major = ((large.dev >> 8n) & 0xfffn) | ((large.dev >> 32n) & ~0xfffn)
  const minor = (large.dev & 0xffn) | ((large.dev >> 12n) & ~0xffn & 0xffffffffn)
  const text = maps(`10000-13000 rw-p 00000000 ${major.toString(16)}:${minor.toString(16)} 42 /a`)
  expect(findMapping(text, large).bytes).toBe(0x3000)
})

it.each([
  ['is not mapped', maps()],
  ['is mapped from another device', maps('10000-13000 rw-p 00000000 fd:01 42 /a')],
  ['is mapped in part', maps('10000-12000 rw-p 00000000 fd:00 42 /a')],
  ['is mapped with a gap', maps('10000-11000 rw-p 00000000 fd:00 42 /a', '12000-14000 rw-p 00001000 fd:00 42 /a')],
  ['is mapped twice', maps('10000-13000 rw-p 00000000 fd:00 42 /a', '20000-23000 rw-p 00000000 fd:00 42 /a')],
])('refuses a file that %s', (_what, text) => {
  expect(() => findMapping(text, file)).toThrow('not mapped as expected')
})
