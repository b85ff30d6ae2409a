import { vmDriverConformance } from '../conformance.ts'
import { FakeDriver } from './driver.ts'

vmDriverConformance('fake', async () => {
  const driver = new FakeDriver()
  return {
    driver,
    crash: async (vm) => driver.machine(vm.id).die(),
    leftovers: async () => [...driver.machines.keys()],
    close: async () => undefined,
  }
})
