import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { loadAssets, resolveImage } from './assets.ts'

const presets = ['python', 'node']

it.each([
  ['python', 'python'],
  ['node:22-slim', 'node'],
  ['debian', undefined],
  ['gone', undefined],
  ['again', undefined],
  ['constructor', undefined],
])('resolves the image %s to %s', (name, preset) => {
  expect(resolveImage(name, presets, { 'node:22-slim': 'node', gone: 'ruby', again: 'node:22-slim' })).toBe(preset)
})

it('says to run the set-up where its list is missing or is not one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'portico-assets-'))
  try {
    await expect(loadAssets(join(folder, 'assets.json'))).rejects.toThrow('run the set-up first')
    await writeFile(join(folder, 'assets.json'), '{"schema":2}')
    await expect(loadAssets(join(folder, 'assets.json'))).rejects.toThrow('run the set-up again')
  } finally {
    await rm(folder, { recursive: true })
  }
})
