import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vmDriverConformance } from '../conformance.ts'
import { FakeDriver } from './driver.ts'

vmDriverConformance('fake', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'portico-fake-driver-test-'))
  const driver = new FakeDriver({ folder })
  let template: string | undefined
  return {
    driver,
    crash: async (vm) => driver.machine(vm.id).die(),
    restart: async () => driver,
    leftovers: async () => {
      // The suite keeps the state that it captured first.
      const folders = await readdir(folder)
      template ??= folders[0]
      return [...driver.machines.keys(), ...folders.filter((name) => name !== template)]
    },
    close: () => rm(folder, { recursive: true }),
  }
})
