/**
 * Sandboxes on fake machines, for tests: a registry with everything that it needs, in a folder of its own, and a look at what is left. Its machines are
 * booted cold, one for each sandbox, so that nothing but the sandboxes themselves is under test.
 */

import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@portico/shared/clock'
import type { SandboxSpec } from '@portico/shared/control'
import { Capacity } from '../capacity.ts'
import type { GuestResponse } from '../guest/http.ts'
import { silentLog } from '../log.ts'
import { type StatePaths, statePaths } from '../paths.ts'
import { HostImages, type Store } from '../policy/host-images.ts'
import { fileOf } from '../policy/open.ts'
import type { Policy } from '../policy/policy.ts'
import type { SandboxContext } from '../sandbox/birth.ts'
import { BootGate } from '../sandbox/boot-gate.ts'
import { type PhaseContext, PreparedVm } from '../sandbox/phases.ts'
import { Registry } from '../sandbox/registry.ts'
import type { StateChange } from '../sandbox/requests.ts'
import { Snapshots } from '../sandbox/snapshots.ts'
import type { OnStep } from '../sandbox/steps.ts'
import { FakeDriver, type FakeMachine, type GuestBehaviour } from '../vm/fake/index.ts'
import type { Trouble } from '../vm/fake/vm.ts'
import { newMachineId } from '../vm/machine-id.ts'
import type { MachineState } from '../vm/machine-state.ts'

export const spec: SandboxSpec = {
  image: 'python',
  vcpus: 1,
  mem_mib: 256,
  disk_mib: 64,
  idle_timeout: 300,
  env: { A: 'b' },
  auto_resume: false,
  on_idle: 'destroy',
}
const limits = { bootMs: 20_000, identityMs: 5000, tries: 2 }
const never = new AbortController().signal

export interface SetUpOptions {
  /** Of images beyond the presets, and what the policy says of them. */
  readonly store?: Store
  readonly policy?: Policy
  readonly behaviour?: (start: number) => GuestBehaviour
  readonly trouble?: Trouble
  readonly gate?: number
  readonly onStep?: OnStep
}

export interface SetUp {
  readonly clock: FakeClock
  readonly driver: FakeDriver
  readonly capacity: Capacity
  readonly registry: Registry
  readonly changes: StateChange[]
  readonly paths: StatePaths
  readonly context: SandboxContext
  /** The states of a sandbox so far. */
  states(id: string): string[]
  /** The machine that a sandbox has now. */
  machine(id: string): FakeMachine
  /** Everything that is taken: machines, places, files. */
  leftovers(): Promise<object>
  remove(): Promise<void>
}

/** What `leftovers` answers when nothing is left. */
export const nothingLeft = { machines: 0, slots: 4, memoryMib: 1000, sandboxes: [], captures: [] }

export async function setUp({
  behaviour,
  trouble,
  gate = 8,
  onStep,
  store,
  policy,
}: SetUpOptions = {}): Promise<SetUp> {
  const root = await mkdtemp(join(tmpdir(), 'portico-sandboxes-'))
  const captures = join(root, 'fake')
  await mkdir(captures)
  const clock = new FakeClock(1_000_000)
  const driver: FakeDriver = new FakeDriver({
    folder: captures,
    behaviour: () => behaviour?.(driver.started) ?? {},
    ...(trouble ? { trouble } : {}),
  })
  if (store) driver.images.addSource((name) => fileOf(store.get(name), name))
  const capacity = new Capacity({ slots: 4, memoryMib: 1000, vcpus: 100 })
  const changes: StateChange[] = []
  const paths = statePaths(join(root, 'state'))
  const phases = { driver, gate: new BootGate(gate), clock, limits, log: silentLog() }
  const bares: MachineState[] = []
  const context: SandboxContext = { ...phases, paths, onStep, source: coldSource(phases, capacity, bares) }
  const registry = new Registry({
    context,
    snapshots: new Snapshots({ paths, versions: driver.versions, onStep }),
    images: new HostImages({ images: driver.images, aliases: { 'python:3.12': 'python' }, store, policy }),
    onChange: (change) => changes.push(change),
  })
  return {
    clock,
    driver,
    capacity,
    registry,
    changes,
    paths,
    context,
    states: (id) => changes.filter(({ sandbox }) => sandbox === id).map(({ state }) => state),
    machine: (id) => machineOf(driver, id),
    leftovers: async () => {
      for (const state of bares.splice(0)) await state.release()
      return {
        machines: driver.machines.size,
        slots: capacity.freeSlots,
        memoryMib: capacity.freeMemoryMib,
        sandboxes: await readdir(paths.sandboxes).catch(() => []),
        captures: await readdir(captures).catch(() => []),
      }
    },
    remove: () => rm(root, { recursive: true, force: true }),
  }
}

/** The machine whose guest says that it is this sandbox. */
export function machineOf(driver: FakeDriver, id: string): FakeMachine {
  const found = [...driver.machines.values()].find(({ guest }) => guest.identity?.sandbox_id === id)
  if (!found) throw new Error(`no machine is ${id}`)
  return found
}

/** Boots a machine for each sandbox. */
function coldSource(context: PhaseContext, capacity: Capacity, bares: MachineState[]): SandboxContext['source'] {
  return {
    reserve: async (room) => capacity.reserve(room),
    mustFit: (room) => capacity.mustFit(room),
    expectBare: () => undefined,
    bare: async (needs, signal) => {
      const spec = { ...needs, id: newMachineId(), slot: 99 }
      const booted = await new PreparedVm(context, spec).boot(signal, { waits: true })
      try {
        const state = await booted.vm.capture({ pages: 'memory', signal })
        bares.push(state)
        return { state, came: async () => undefined }
      } finally {
        await booted.unwind()
      }
    },
    take: async (needs, signal) => {
      const place = capacity.reserve(needs)
      try {
        const booted = await new PreparedVm(context, { id: newMachineId(), slot: place.slot, ...needs }).boot(signal)
        return { booted, place, from: 'template' }
      } catch (error) {
        place.release()
        throw error
      }
    },
  }
}

/** Lets everything happen that does not wait for the clock, and moves the clock, until the promise is settled. */
export async function settle<Value>(clock: FakeClock, promise: Promise<Value>, stepMs = 1000): Promise<Value> {
  let over = false
  promise.finally(() => (over = true)).catch(() => undefined)
  while (!over) {
    for (let turn = 0; turn < 20 && !over; turn++) await new Promise((done) => setTimeout(done, 1))
    if (!over) await clock.advance(stepMs)
  }
  return await promise
}

interface Asks {
  request: Registry['request']
}

/** Runs `echo hi` in the guest. */
export async function echo(asked: Asks, id: string, generation = 1): Promise<string> {
  const body = bodyOf('{"argv":["echo","hi"]}')
  const response = await asked.request(id, generation, { method: 'POST', path: '/exec', body, signal: never })
  return JSON.parse(await textOf(response)).stdout
}

export async function writeFile(asked: Asks, id: string, path: string, content: string): Promise<void> {
  const body = bodyOf(content)
  const head = { method: 'PUT', path: `/files?path=${path}`, body, signal: never } as const
  await textOf(await asked.request(id, 1, head))
}

export async function readFile(asked: Asks, id: string, path: string): Promise<string> {
  return await textOf(await asked.request(id, 1, { method: 'GET', path: `/files?path=${path}`, signal: never }))
}

async function* bodyOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}

async function textOf(response: GuestResponse): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const bytes of response.body) parts.push(bytes)
  return Buffer.concat(parts).toString('utf8')
}
