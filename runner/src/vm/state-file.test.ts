import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { readState, type VmState, writeState } from './state-file.ts'

const state: VmState = {
  schema: 2,
  id: 'vmabc',
  slot: 7,
  bootId: 'boot',
  qemu: { pid: 10, startTicks: 20 },
  versions: { accelerator: 'tcg', qemu: '10.0.0+1', cpu: 'max' },
  shape: {
    image: { name: 'python', digest: 'sha256:0' },
    kernel: '6.12',
    agent: '0.1.0',
    vcpus: 2,
    memoryMib: 512,
    diskMib: 4096,
  },
  startedAt: '2026-01-01T00:00:00.000Z',
}

it('is read as it was written, and replaced in one step', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'portico-state-'))
  const file = join(folder, 'state.json')
  try {
    expect(await readState(file)).toBeUndefined()
    await writeState(file, { ...state, slot: 1 })
    await writeState(file, state)
    expect(await readState(file)).toEqual(state)
    expect(await readdir(folder)).toEqual(['state.json'])
    await writeFile(file, '{"schema":2,"id":')
    expect(await readState(file)).toBeUndefined()
    await writeFile(file, JSON.stringify({ ...state, qemu: { pid: -1, startTicks: 20 } }))
    expect(await readState(file)).toBeUndefined()
  } finally {
    await rm(folder, { recursive: true })
  }
})
