import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Proc, parseStat } from './proc.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'portico-proc-'))
})
afterEach(() => rm(root, { recursive: true }))

async function addProcess(pid: number, files: Record<string, string>): Promise<void> {
  await mkdir(join(root, String(pid)))
  for (const [name, text] of Object.entries(files)) await writeFile(join(root, String(pid), name), text)
}

const stat = (name: string, state = 'S') =>
  `4242 (${name}) ${state} 17 4242 4242 0 -1 4194304 100 0 0 0 120 30 0 0 20 0 4 0 987654 1000 500 18446744073709551615`

it.each(['qemu', 'a b', 'x) R 1 2 (y', ')'])('reads the fields behind the name %s', (name) => {
  expect(parseStat(stat(name))).toEqual({ pid: 4242, state: 'S', parent: 17, cpuMs: 1500, startTicks: 987654 })
})

it('tells what is no stat line', () => {
  expect(parseStat('')).toBeUndefined()
  expect(parseStat('4242 (x) S 1')).toBeUndefined()
})

it('reads memory in bytes', async () => {
  const share = '7f00-7fff ---p 00000000 00:00 0 [rollup]\nRss:  4096 kB\nPss:                1024 kB\nPss_Anon: 7 kB\n'
  await addProcess(7, { status: 'Name:\tqemu\nVmHWM:\t  2048 kB\nVmRSS:\t  512 kB\n', smaps_rollup: share })
  expect(await new Proc(root).memory(7)).toEqual({ currentBytes: 2 ** 20, peakBytes: 2 ** 21 })
})

it('knows a process by number and start together', async () => {
  await addProcess(4242, { stat: stat('qemu') })
  const proc = new Proc(root)
  expect(await proc.runs({ pid: 4242, startTicks: 987654 })).toBe(true)
  expect(await proc.runs({ pid: 4242, startTicks: 1 })).toBe(false)
  expect(await proc.runs({ pid: 4243, startTicks: 987654 })).toBe(false)
})

it('does not count a zombie as running', async () => {
  await addProcess(4242, { stat: stat('qemu', 'Z') })
  expect(await new Proc(root).runs({ pid: 4242, startTicks: 987654 })).toBe(false)
})

it('reads arguments, and none of a kernel thread', async () => {
  await addProcess(1, { cmdline: 'qemu\0-name\0guest=a b\0' })
  await addProcess(2, { cmdline: '' })
  expect(await new Proc(root).commandLine(1)).toEqual(['qemu', '-name', 'guest=a b'])
  expect(await new Proc(root).commandLine(2)).toEqual([])
})

it('lists processes and nothing else', async () => {
  await addProcess(1, {})
  await addProcess(22, {})
  await mkdir(join(root, 'sys'))
  expect((await new Proc(root).list()).sort()).toEqual([1, 22])
})

it('reads this very process', async () => {
  const proc = new Proc()
  const own = await proc.stat(process.pid)
  expect(own?.parent).toBe(process.ppid)
  expect((await proc.memory(process.pid))?.currentBytes).toBeGreaterThan(2 ** 20)
})
