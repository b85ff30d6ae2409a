/** The account's index ends up right, and no event is lost or doubled in it, wherever a call of it breaks and memory is lost. */

import type { WebhookEvent } from '@portico/shared/api'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { World } from '../../test/sandbox-world.ts'
import type { IndexEntry } from '../ports.ts'
import { create } from './create.ts'
import { destroy } from './destroy.ts'
import type { Life } from './life.ts'
import { wake } from './news.ts'
import { hibernate, resume } from './sleep.ts'

/** An account's index: the last entry, and the events that it took, by the rule that its own object follows. */
class Index {
  entry: IndexEntry | undefined
  readonly events: WebhookEvent[] = []
  calls = 0

  take(entry: IndexEntry): void {
    const since = this.entry?.version ?? 0
    if (entry.version <= since) return
    this.entry = entry
    this.events.push(...entry.happenings.filter(({ version }) => version > since).map(({ event }) => event))
  }
}

const steps: ((life: Life, world: World) => Promise<unknown>)[] = [
  (life, { input }) => create(life, input),
  (life, { caller }) => hibernate(life, caller),
  (life, { caller }) => resume(life, caller),
  (life, { caller }) => destroy(life, caller),
]
const whole = ['created', 'running', 'hibernated', 'resumed', 'destroyed'].map((name) => `sandbox.${name}`)

/** Runs the steps; the calls of the index whose numbers are given break, before or after the index took the entry. Memory is lost after each step. */
async function play(broken: ReadonlyMap<number, 'before' | 'after'>): Promise<{ world: World; index: Index }> {
  const world = new World()
  const index = new Index()
  world.tell = (entry) => {
    const how = broken.get(index.calls++)
    if (how !== 'before') index.take(entry)
    if (how !== undefined) throw new Error('the connection broke')
  }
  for (const step of steps) {
    await step(world.life, world)
    await world.settle()
    world.wakeUp()
  }
  return { world, index }
}

/** Lets alarms go off until there is nothing left but the end of the record's time. */
async function heal(world: World): Promise<void> {
  for (let turn = 0; turn < 20 && (world.stored?.indexed ?? 0) < (world.stored?.version ?? 0); turn++) {
    expect(world.alarm).toBeDefined()
    await world.clock.advance(Math.max(0, (world.alarm ?? 0) - world.clock.now()))
    await wake(world.wakeUp())
  }
}

function assertRight(world: World, index: Index): void {
  expect(index.entry).toMatchObject({ version: world.stored?.version, state: 'destroyed' })
  expect(index.events).toEqual(whole)
  expect(world.stored?.happenings).toEqual([])
}

describe('the index', () => {
  test('is right without any failure', async () => {
    const { world, index } = await play(new Map())
    assertRight(world, index)
  })

  test.each(['before', 'after'] as const)('heals when any one of its calls breaks %s it was taken', async (how) => {
    const { index: undisturbed } = await play(new Map())
    expect(undisturbed.calls).toBeGreaterThan(5)
    for (let at = 0; at < undisturbed.calls; at++) {
      const { world, index } = await play(new Map([[at, how]]))
      await heal(world)
      assertRight(world, index)
    }
  })

  test('heals whichever calls break', async () => {
    const breaks = fc.array(fc.tuple(fc.nat(14), fc.constantFrom('before' as const, 'after' as const)), {
      maxLength: 12,
    })
    await fc.assert(
      fc.asyncProperty(breaks, async (some) => {
        const { world, index } = await play(new Map(some))
        await heal(world)
        assertRight(world, index)
      }),
      { numRuns: 60 },
    )
  })

  test('that lost what it had is told anew when it asks', async () => {
    const { world, index } = await play(new Map())
    index.entry = undefined
    await world.wakeUp().retell(0)
    expect(index.entry).toMatchObject({ state: 'destroyed' })
    const { calls } = index
    await world.wakeUp().retell(world.stored?.version ?? 0)
    expect(index.calls).toBe(calls)
  })
})

describe('the audit log', () => {
  test('has each thing once, in order, whatever became of the index', async () => {
    const { world } = await play(new Map([0, 1, 2, 3, 4, 5].map((at) => [at, 'before'])))
    const names = ['created', 'hibernated', 'resumed', 'destroyed']
    expect(world.notes.map(({ event }) => event)).toEqual(names.map((name) => `sandbox.${name}`))
    expect(world.notes[0]?.data).toEqual({ image: 'python', vcpus: 1, mem_mib: 512 })
    expect(JSON.stringify(world.notes)).not.toContain('SECRET')
  })
})
