import { AppError } from '@portico/shared/errors'
import type { SandboxState } from '@portico/shared/lifecycle'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { echo, nothingLeft, type SetUp, settle, setUp, spec } from '../testing/sandboxes.ts'
import type { FakeStep } from '../vm/fake/vm.ts'

/** The moves of the drawing in `driver.ts`. */
const drawn: Record<SandboxState, readonly SandboxState[]> = {
  creating: ['running', 'error', 'destroying', 'destroyed'],
  running: ['hibernating', 'error', 'destroying'],
  hibernating: ['hibernated', 'running', 'error', 'destroying'],
  hibernated: ['resuming', 'destroying'],
  resuming: ['running', 'hibernated', 'error', 'destroying'],
  error: ['destroying'],
  destroying: ['destroyed'],
  destroyed: [],
  lost: [],
}

const asks = [
  'create',
  'destroy',
  'update',
  'use',
  'hibernate',
  'resume',
  'fork',
  'snapshot',
  'restore',
  'delete',
  'checkpoint',
  'revert',
] as const
const events = ['die', 'idle', 'cut'] as const
const fragile: readonly FakeStep[] = ['boot', 'restore', 'connect', 'resume', 'pause', 'capture', 'capture-disk']

type Step = {
  readonly do: (typeof asks)[number] | (typeof events)[number]
  readonly fails: FakeStep | undefined
  readonly wait: boolean
}

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom(...asks, ...asks, ...events),
  /** The machines fail in this from here on, until the next step. */
  fails: fc.oneof(
    { weight: 3, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constantFrom(...fragile) },
  ),
  /** Whether the next step waits for this one. */
  wait: fc.boolean(),
})

const begin: Step = { do: 'create', fails: undefined, wait: true }

it('keeps to the lifecycle and leaks nothing, whatever is asked and whatever fails', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 12 }),
      fc.boolean(),
      fc.constantFrom('destroy', 'hibernate'),
      async (steps, autoResume, onIdle) => {
        let failing: FakeStep | undefined
        const trouble = (one: FakeStep) => {
          if (one === failing)
            throw new AppError('boot_failed', `cannot ${one} the virtual machine: it does not want to`)
        }
        const made = await setUp({ trouble })
        try {
          const wanted = { ...spec, mem_mib: 128, idle_timeout: 10, auto_resume: autoResume, on_idle: onIdle } as const
          const under: Promise<unknown>[] = []
          for (const one of [begin, ...steps]) {
            failing = one.fails
            const done = run(made, one.do, wanted, under.length).catch((error: unknown) =>
              expect(error).toBeInstanceOf(AppError),
            )
            under.push(done)
            if (one.wait) await settle(made.clock, done, 100)
            else await new Promise((turn) => setImmediate(turn))
          }
          failing = undefined
          await settle(made.clock, Promise.all(under), 100)
          checkMoves(made)
          const all = made.registry.list().map(({ sandbox, generation }) => made.registry.destroy(sandbox, generation))
          await settle(made.clock, Promise.all(all), 100)
          await settle(made.clock, made.registry.destroyAll('drain'), 100)
          expect(await made.leftovers()).toEqual(nothingLeft)
          expect(made.clock.pending).toBe(0)
        } finally {
          await made.remove()
        }
      },
    ),
    { numRuns: 60 },
  )
}, 120_000)

async function run(made: SetUp, what: Step['do'], wanted: typeof spec, number: number): Promise<void> {
  const { registry, driver, clock } = made
  const [machine] = driver.machines.values()
  switch (what) {
    case 'create':
      return void (await registry.create('a', 1, wanted))
    case 'destroy':
      return void (await registry.destroy('a', 1))
    case 'update':
      return await registry.update('a', 1, 20)
    case 'use':
      return await use(made)
    case 'hibernate':
      return void (await registry.hibernate('a', 1))
    case 'resume':
      return void (await registry.resume('a', 1))
    case 'fork':
      return void (await registry.fork('a', 1, [{ sandbox: `fork${number}`, generation: 1 }]))
    case 'snapshot':
      return void (await registry.snapshot('a', 1, 's'))
    case 'restore':
      return void (await registry.restore(`restored${number}`, 1, 's', wanted))
    case 'delete':
      return await registry.deleteSnapshot('s')
    case 'checkpoint':
      return void (await registry.checkpoint('a', 1, { checkpoint: 'cp', name: '', createdAt: '' }))
    case 'revert':
      return void (await registry.restoreCheckpoint('a', 1, 'cp'))
    case 'idle':
      return await clock.advance(10_000)
    case 'die':
      return machine?.die()
    case 'cut':
      return machine?.cut()
  }
}

/** A request that is under way when its sandbox falls asleep goes on when that wakes up; nobody waits for it here. */
async function use({ registry, changes }: SetUp): Promise<void> {
  const before = changes.length
  let over = false
  const asked = echo(registry, 'a').finally(() => (over = true))
  asked.catch(() => undefined)
  const fellAsleep = () => changes.slice(before).some(({ sandbox, state }) => sandbox === 'a' && state === 'hibernated')
  while (!over && !fellAsleep()) await new Promise((turn) => setImmediate(turn))
  if (over) await asked
}

function checkMoves({ changes }: SetUp): void {
  const last = new Map<string, SandboxState>()
  for (const { sandbox, generation, state } of changes) {
    const before = last.get(`${sandbox} ${generation}`)
    if (before !== undefined && before !== 'destroyed') expect(drawn[before], `${sandbox}: ${before}`).toContain(state)
    last.set(`${sandbox} ${generation}`, state)
  }
}
