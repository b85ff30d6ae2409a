import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { run } from '../process/run.ts'
import { confinedArguments } from './confined.ts'

const folder = tmpdir()

test('nobody in a jail may open files of the disk by their number', () => {
  const words = confinedArguments({ folder, files: true }, ['true'])
  expect(words).not.toContain('CAP_DAC_READ_SEARCH')
  expect(words).toContain('--cap-drop')
})

test('a program that has limits has them, beyond the shell that starts it', async () => {
  const limits = { fileBytes: 4096, memoryBytes: 1 << 30 }
  const program = ['/bin/sh', '-c', 'ulimit -f; ulimit -v; ulimit -c']
  const { stdout } = await run('bwrap', confinedArguments({ folder, files: true, limits }, program), {
    limitMs: 10_000,
  })
  expect(stdout.split('\n').slice(0, 3)).toEqual(['8', String(1 << 20), '0'])
})
