/** Machines without a machine: for development and tests of what stands on the driver's contract. The conformance suite holds them to it. */

export { FakeDriver, type FakeDriverOptions } from './driver.ts'
export type { ExecHandler, GuestBehaviour } from './guest.ts'
export { FakeMachine } from './machine.ts'
export type { FakeStep, Trouble } from './vm.ts'
