import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { firstUid, instanceName, parseTscKhz } from './host.ts'

it('takes the clock rate from half of bogomips', () => {
  expect(parseTscKhz('processor\t: 0\nbogomips\t: 4599.99\nflags\t: x\n')).toBe(2_299_995)
})

it('takes a plausible clock rate where the host tells none', () => {
  expect(parseTscKhz('')).toBe(2_000_000)
  expect(parseTscKhz('bogomips\t: 0.00\n')).toBe(2_000_000)
})

it('names a state folder once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'portico-host-'))
  try {
    const name = await instanceName(join(folder, 'instance'))
    expect(name).toMatch(/^portico-[a-z2-7]{16}$/)
    expect(await instanceName(join(folder, 'instance'))).toBe(name)
    expect(await readdir(folder)).toEqual(['instance'])
  } finally {
    await rm(folder, { recursive: true })
  }
})

it('gives state folders ranges of users that do not overlap in part and stay positive', () => {
  const first = firstUid('portico-aaaaaaaaaaaaaaaa')
  expect(first % 1024).toBe(0)
  expect(first).toBeGreaterThanOrEqual(0x70000000)
  expect(first + 1024).toBeLessThan(2 ** 31)
  expect(firstUid('portico-bbbbbbbbbbbbbbbb')).not.toBe(first)
})
