import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { decideAccelerator, type KvmOptions } from './kvm.ts'

let folder: string
let tries: number

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-kvm-'))
  await writeFile(join(folder, 'kvm'), '')
  tries = 0
})
afterEach(() => rm(folder, { recursive: true }))

function options(changes: Partial<KvmOptions> = {}): KvmOptions {
  return {
    asked: 'auto',
    host: { bootId: 'boot-1', qemuVersion: '10.0', kernelVersion: '6.12' },
    verdictFile: join(folder, 'kvm-verdict.json'),
    device: join(folder, 'kvm'),
    tryBoot: async () => void tries++,
    ...changes,
  }
}

const hangs = async () => {
  tries++
  throw new AppError('deadline', 'its agent did not speak within 8000 ms')
}

it('uses KVM when a machine boots under it', async () => {
  expect(await decideAccelerator(options())).toMatchObject({ accelerator: 'kvm' })
})

it('emulates when the device opens but no machine boots, and says why', async () => {
  const verdict = await decideAccelerator(options({ tryBoot: hangs }))
  expect(verdict.accelerator).toBe('tcg')
  expect(verdict.reason).toContain('did not speak within 8000 ms')
})

it('tries once per boot of the host', async () => {
  await decideAccelerator(options({ tryBoot: hangs }))
  expect(await decideAccelerator(options({ tryBoot: hangs }))).toMatchObject({ accelerator: 'tcg' })
  expect(tries).toBe(1)
})

it.each(['bootId', 'qemuVersion', 'kernelVersion'])('tries again when %s is another', async (field) => {
  await decideAccelerator(options({ tryBoot: hangs }))
  const host = { ...options().host, [field]: 'another' }
  expect(await decideAccelerator(options({ host }))).toMatchObject({ accelerator: 'kvm' })
  expect(tries).toBe(2)
})

it('tries again when the kept verdict is unreadable, and leaves one file', async () => {
  await writeFile(options().verdictFile, '{"usable":')
  expect(await decideAccelerator(options())).toMatchObject({ accelerator: 'kvm' })
  expect((await readdir(folder)).sort()).toEqual(['kvm', 'kvm-verdict.json'])
})

it('decides where the verdict cannot be kept', async () => {
  const verdictFile = join(folder, 'no-such-folder', 'kvm-verdict.json')
  expect(await decideAccelerator(options({ verdictFile }))).toMatchObject({ accelerator: 'kvm' })
})

it('does not try where there is no device', async () => {
  const verdict = await decideAccelerator(options({ device: join(folder, 'missing') }))
  expect(verdict).toMatchObject({ accelerator: 'tcg', reason: expect.stringContaining('there is no') })
  expect(tries).toBe(0)
})

it('does what the operator says without trying', async () => {
  expect(await decideAccelerator(options({ asked: 'kvm', tryBoot: hangs }))).toMatchObject({ accelerator: 'kvm' })
  expect(await decideAccelerator(options({ asked: 'tcg' }))).toMatchObject({ accelerator: 'tcg' })
  expect(tries).toBe(0)
})
