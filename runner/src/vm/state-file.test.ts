import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { readState, type VmState, writeState } from './state-file.ts'

const state: VmState = {
  schema: 1,
  id: 'runabc',
  generation: 3,
  slot: 7,
  bootId: 'boot',
  qemu: { pid: 10, startTicks: 20 },
  accelerator: 'tcg',
  image: { name: 'python', digest: 'sha256:0' },
  vcpus: 2,
  memoryMib: 512,
  diskMib: 4096,
  startedAt: '2026-01-01T00:00:00.000Z',
}

it('is read as it was written, and replaced in one step', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'portico-state-'))
  const file = join(folder, 'state.json')
  try {
    expect(await readState(file)).toBeUndefined()
    await writeState(file, { ...state, generation: 1 })
    await writeState(file, state)
    expect(await readState(file)).toEqual(state)
    expect(await readdir(folder)).toEqual(['state.json'])
    await writeFile(file, '{"schema":1,"id":')
    expect(await readState(file)).toBeUndefined()
    await writeFile(file, JSON.stringify({ ...state, qemu: { pid: -1, startTicks: 20 } }))
    expect(await readState(file)).toBeUndefined()
  } finally {
    await rm(folder, { recursive: true })
  }
})
