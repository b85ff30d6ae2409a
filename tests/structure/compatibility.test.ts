/** `docs/compatibility.md` against the tests that it names. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from '@portico/deploy/checkout'
import { expect, it } from 'vitest'

const page = await readFile(join(root, 'docs', 'compatibility.md'), 'utf8')
const read = (file: string) => readFile(join(root, file), 'utf8').catch(() => undefined)

it('names files of tests that there are', async () => {
  const files = new Set([...page.matchAll(/`([\w./-]+\.test\.ts)`/g)].map(([, file = '']) => file))
  expect(files.size).toBeGreaterThan(10)
  const found = await Promise.all([...files].map(async (file) => [file, await read(file)] as const))
  expect(found.flatMap(([file, text]) => (text === undefined ? [file] : []))).toEqual([])
})

it('names tests of iii that there are', async () => {
  const section = page.slice(page.indexOf('\n## iii\n'))
  const tests = (await read('tests/conformance/iii.vm.test.ts')) ?? ''
  const rows = section.split('\n').filter((line) => /^\| .* \| .* \| .* \|$/.test(line))
  const cells = rows.map((line) => line.split(' | ').at(-1) ?? '').filter((cell) => !cell.includes(' in `'))
  const names = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
  const ownNames = names.filter((name) => name.includes(' ') && !name.startsWith('npm run'))
  expect(ownNames.length).toBeGreaterThan(20)
  expect(ownNames.filter((name) => !tests.includes(`'${name.replace(/…$/, '').trim()}`))).toEqual([])
})
