import type { RunRecord } from '@portico/shared/api'
import { beforeEach, describe, expect, test } from 'vitest'
import { codeOf, failing, usage, World } from '../../test/sandbox-world.ts'
import { create } from './create.ts'
import { destroy } from './destroy.ts'
import { evacuate } from './evacuate.ts'
import { loseForGood } from './lost.ts'
import { claims, hear, wake } from './news.ts'
import { publicRecord, type SandboxRecord } from './record.ts'
import { routeOf } from './route.ts'
import { hibernate, resume } from './sleep.ts'
import { markUnreachable } from './unreachable.ts'

let world: World

beforeEach(async () => {
  world = new World()
  await create(world.life, world.input)
  world.events.length = 0
})

const known = () => world.stored as SandboxRecord
const shown = (): RunRecord => publicRecord(known())
const away = (since: number, runner = 'runner-1', generation = 1) =>
  markUnreachable(world.life, runner, generation, since)
const news = (state: 'running' | 'hibernated' | 'error' | 'destroyed') =>
  hear(world.life, 'runner-1', { op: 'sandbox.event', sandbox: world.input.sandbox, generation: 1, state })
const routed = async () => routeOf(world.life.usable(world.caller))

describe('a sandbox whose runner is away', () => {
  test('is unreachable for everybody, its state is kept, and its time goes on', async () => {
    await away(5000)
    expect(shown().status).toBe('unreachable')
    expect(known()).toMatchObject({ state: 'running', unreachableSince: 5000, runningSince: 1_000_000 })
    expect(world.index.at(-1)).toMatchObject({ record: { status: 'unreachable' }, runningSince: 1_000_000 })
    expect(await codeOf(routed())).toBe('sandbox_unreachable')
    expect(await codeOf(hibernate(world.life, world.caller))).toBe('sandbox_unreachable')
    expect(world.events).toEqual([])
  })

  test('is so since it was first said, and only for the runner and generation that have it', async () => {
    await away(5000, 'runner-2')
    await away(5000, 'runner-1', 2)
    expect(shown().status).toBe('running')
    await away(5000)
    await away(9000)
    expect(known().unreachableSince).toBe(5000)
  })

  test('is what its runner says once that is back', async () => {
    for (const state of ['running', 'hibernated', 'error'] as const) {
      await away(5000)
      expect(await news(state)).toBe(true)
      expect([shown().status, known().unreachableSince]).toEqual([state, null])
    }
  })

  test('and that sleeps is unreachable as well, and sleeps on', async () => {
    await hibernate(world.life, world.caller)
    await away(5000)
    expect(shown().status).toBe('unreachable')
    expect(await codeOf(resume(world.life, world.caller))).toBe('sandbox_unreachable')
    await news('hibernated')
    expect(shown().status).toBe('hibernated')
  })

  test('or is over, or on its way out, is shown as that', async () => {
    await news('error')
    await away(5000)
    expect(shown().status).toBe('error')
    world.destroy = async () => failing('runner_disconnected', 'not_sent')
    expect(await codeOf(destroy(world.life, world.caller))).toBe('runner_disconnected')
    await away(6000)
    expect(known()).toMatchObject({ state: 'destroying', unreachableSince: null })
  })

  test('is destroyed as soon as the runner is back, if that was asked for meanwhile', async () => {
    await away(5000)
    world.destroy = async () => failing('runner_disconnected', 'not_sent')
    expect(await codeOf(destroy(world.life, world.caller))).toBe('runner_disconnected')
    world.destroy = async () => ({ ok: true, value: usage })
    await news('running')
    await world.settle()
    expect(known()).toMatchObject({ state: 'destroyed', usage })
  })
})

describe('a sandbox whose runner was given up', () => {
  test('is lost, used what is known up to the last confirmed moment, and ended then', async () => {
    await world.clock.advance(600_000)
    await away(1_500_000)
    await loseForGood(world.life, 'runner-1', 1, 1_400_000)
    expect(shown()).toMatchObject({ status: 'lost', reason: 'its runner was given up' })
    expect(known()).toMatchObject({ endedAt: 1_400_000, runningSince: null, unreachableSince: null })
    expect(known().usage).toMatchObject({ uptime_ms: 400_000 })
    expect(world.index.at(-1)).toMatchObject({ state: 'lost', endedAt: 1_400_000 })
    expect(await codeOf(routed())).toBe('sandbox_lost')
    expect(claims(world.life, 'runner-1', 1)).toBe(false)
  })

  test('stays lost whatever its runner still says, and a destroy tells what it used', async () => {
    await loseForGood(world.life, 'runner-1', 1, 1_000_500)
    for (const state of ['running', 'hibernated', 'error', 'destroyed'] as const) await news(state)
    await away(5000)
    await wake(world.life)
    expect(shown().status).toBe('lost')
    const { record, usage: used } = await destroy(world.life, world.caller)
    expect([record.status, used.uptime_ms]).toEqual(['lost', 500])
    expect(world.events).toEqual([])
  })

  test('and slept used nothing since it fell asleep', async () => {
    await hibernate(world.life, world.caller)
    await world.clock.advance(600_000)
    await loseForGood(world.life, 'runner-1', 1, world.clock.now())
    expect(known()).toMatchObject({ state: 'lost', usage })
  })

  test('by another generation, or on another runner, is not concerned', async () => {
    await loseForGood(world.life, 'runner-1', 2, 1)
    await loseForGood(world.life, 'runner-2', 1, 1)
    expect(shown().status).toBe('running')
  })

  test('while it was being destroyed ends as destroyed', async () => {
    world.destroy = async () => failing('runner_disconnected', 'not_sent')
    await codeOf(destroy(world.life, world.caller))
    world.destroy = async () => failing('sandbox_not_found', 'answered')
    await loseForGood(world.life, 'runner-1', 1, 1_000_000)
    await world.settle()
    expect(known().state).toBe('destroyed')
  })
})

describe('an evacuation', () => {
  test('puts a sandbox to sleep without asking its owner, once', async () => {
    expect(await evacuate(world.life, 'runner-1', 1)).toMatchObject({ status: 'hibernated' })
    expect(await evacuate(world.life, 'runner-1', 1)).toMatchObject({ status: 'hibernated' })
    expect(world.events).toEqual(['hibernate runner-1 1'])
  })

  test('of a runner that no longer has it is refused', async () => {
    expect(await codeOf(evacuate(world.life, 'runner-1', 2))).toBe('sandbox_not_found')
    expect(await codeOf(evacuate(world.life, 'runner-2', 1))).toBe('sandbox_not_found')
    expect(world.events).toEqual([])
  })
})
