import type { SandboxEventMessage } from '@portico/shared/control'
import type { Usage } from '@portico/shared/usage'
import { beforeEach, describe, expect, test } from 'vitest'
import { codeOf, ended, failing, usage, World } from '../../test/sandbox-world.ts'
import type { CallOutcome } from '../ports.ts'
import { create } from './create.ts'
import { destroy } from './destroy.ts'
import { claims, hear, lose, wake } from './news.ts'
import { lastKnownUsage, type SandboxRecord, storedRecord } from './record.ts'
import { routeOf } from './route.ts'
import { hibernate, resume } from './sleep.ts'

let world: World

beforeEach(async () => {
  world = new World()
  await create(world.life, world.input)
  world.events.length = 0
})

const event = (state: SandboxEventMessage['state'], told?: Usage): SandboxEventMessage => ({
  op: 'sandbox.event',
  sandbox: world.input.sandbox,
  generation: 1,
  state,
  ...(told === undefined ? {} : { usage: told }),
})
const known = () => world.stored as SandboxRecord

/** A hibernation that the test ends. */
function held() {
  const answer = Promise.withResolvers<CallOutcome<Usage>>()
  world.hibernate = () => answer.promise
  return answer
}

describe('a hibernation', () => {
  test('is on record before the runner hears of it, has an alarm, and ends with the usage that the runner told', async () => {
    const answer = held()
    const pending = hibernate(world.life, world.caller)
    expect(world.state).toBe('hibernating')
    expect(world.alarm).toBeDefined()
    answer.resolve(ended)
    expect(await pending).toMatchObject({ status: 'hibernated' })
    expect(world.index.at(-1)).toMatchObject({ state: 'hibernated', usage })
    expect(world.alarm).toBeUndefined()
  })

  test('asked for twice at once, or again later, is made once', async () => {
    await Promise.all([hibernate(world.life, world.caller), hibernate(world.life, world.caller)])
    expect(await hibernate(world.life, world.caller)).toMatchObject({ status: 'hibernated' })
    expect(world.events).toEqual(['hibernate runner-1 1'])
  })

  test('that the runner refuses, or never hears of, leaves it running and its time counting', async () => {
    for (const reached of ['answered', 'not_sent'] as const) {
      world.hibernate = async () => failing('no_space', reached)
      const since = known().runningSince
      expect(await codeOf(hibernate(world.life, world.caller))).toBe('no_space')
      expect(known()).toMatchObject({ state: 'running', runningSince: since })
    }
  })

  test('whose tunnel broke is asked for again while somebody waits', async () => {
    let calls = 0
    world.hibernate = async () => (calls++ === 0 ? failing('runner_disconnected', 'unknown') : ended)
    const pending = hibernate(world.life, world.caller)
    await world.clock.advance(0)
    await world.clock.advance(250)
    expect(await pending).toMatchObject({ status: 'hibernated' })
  })

  test('of which nobody knows how it ended stays on its way until the runner tells', async () => {
    world.hibernate = async () => failing('deadline', 'unknown')
    expect(await codeOf(hibernate(world.life, world.caller))).toBe('deadline')
    expect(world.state).toBe('hibernating')
    expect(await hear(world.life, 'runner-1', event('hibernated', usage))).toBe(true)
    expect(known()).toMatchObject({ state: 'hibernated', usage })
  })

  test('interrupted by the loss of memory is asked for again by the alarm', async () => {
    held()
    void hibernate(world.life, world.caller)
    world.wakeUp()
    world.hibernate = async () => ended
    await world.clock.advance((world.alarm ?? 0) - world.clock.now())
    await wake(world.life)
    expect(world.state).toBe('hibernated')
  })

  test('is not overtaken by news from before its answer', async () => {
    const answer = held()
    const pending = hibernate(world.life, world.caller)
    expect(await hear(world.life, 'runner-1', event('running'))).toBe(false)
    expect(world.state).toBe('hibernating')
    answer.resolve(ended)
    await pending
    expect(world.state).toBe('hibernated')
  })

  test('in the middle of which it is destroyed is not answered as done', async () => {
    const answer = held()
    const pending = codeOf(hibernate(world.life, world.caller))
    await destroy(world.life, world.caller)
    answer.resolve(ended)
    expect(await pending).toBe('sandbox_not_found')
    expect(world.state).toBe('destroyed')
  })

  test('of a sandbox that is not there, not ready or broken says so', async () => {
    expect(await codeOf(hibernate(world.life, { ...world.caller, account: 'other' }))).toBe('sandbox_not_found')
    await hear(world.life, 'runner-1', event('error'))
    expect(await codeOf(hibernate(world.life, world.caller))).toBe('sandbox_failed')
    expect(await codeOf(resume(world.life, world.caller))).toBe('sandbox_failed')
  })
})

describe('a resume', () => {
  beforeEach(async () => {
    await hibernate(world.life, world.caller)
    world.events.length = 0
  })

  test('wakes it, and only one is made', async () => {
    const [one, two] = await Promise.all([resume(world.life, world.caller), resume(world.life, world.caller)])
    expect([one.status, two.status]).toEqual(['running', 'running'])
    expect((await resume(world.life, world.caller)).status).toBe('running')
    expect(world.events).toEqual(['resume runner-1 1'])
  })

  test('that does not work out leaves it asleep', async () => {
    world.resume = async () => failing('capacity', 'answered')
    expect(await codeOf(resume(world.life, world.caller))).toBe('capacity')
    expect(known()).toMatchObject({ state: 'hibernated', runningSince: null, usage })
  })

  test('of what turned out damaged ends in the error that the runner tells', async () => {
    world.resume = async () => {
      await hear(world.life, 'runner-1', { ...event('error'), reason: 'its saved state is damaged' })
      return failing('snapshot_damaged', 'answered')
    }
    expect(await codeOf(resume(world.life, world.caller))).toBe('snapshot_damaged')
    expect(known()).toMatchObject({ state: 'error', reason: 'its saved state is damaged' })
  })
})

describe('use', () => {
  const code = () => codeOf((async () => routeOf(world.life.usable(world.caller)))())

  test('of a sandbox that sleeps is refused with its own code, unless any use wakes it', async () => {
    await hibernate(world.life, world.caller)
    expect(await code()).toBe('sandbox_hibernated')
    world.life.change({ spec: { ...known().spec, auto_resume: true } })
    expect(await code()).toBe('done')
  })

  test('of one that is being woken waits for that', async () => {
    await hear(world.life, 'runner-1', event('hibernated'))
    await hear(world.life, 'runner-1', event('resuming'))
    expect(await code()).toBe('sandbox_not_running')
  })
})

describe('time asleep', () => {
  test('is not used, however it fell asleep', async () => {
    await world.clock.advance(4000)
    await hear(world.life, 'runner-1', event('hibernated'))
    await world.clock.advance(100_000)
    expect(lastKnownUsage(known(), world.clock.now()).uptime_ms).toBe(4000)
    await hear(world.life, 'runner-1', event('hibernated', usage))
    expect(lastKnownUsage(known(), world.clock.now())).toEqual(usage)
    await hear(world.life, 'runner-1', event('running'))
    await world.clock.advance(500)
    expect(lastKnownUsage(known(), world.clock.now()).uptime_ms).toBe(usage.uptime_ms + 500)
  })

  test('is not in the last word on a sandbox that its runner lost', async () => {
    await hibernate(world.life, world.caller)
    await world.clock.advance(100_000)
    await lose(world.life, 'runner-1', 1)
    expect(known()).toMatchObject({ state: 'error', reason: 'lost by its runner', usage })
  })
})

test('what sleeps is claimed from a runner that has it', async () => {
  await hibernate(world.life, world.caller)
  expect(claims(world.life, 'runner-1', 1)).toBe(true)
  expect(claims(world.life, 'runner-1', 2)).toBe(false)
})

test('a record from before sandboxes could sleep is read as one that never does', async () => {
  const { runningSince, forkedFrom: _f, restoredFrom: _r, spec, ...rest } = known()
  const { auto_resume: _a, on_idle: _o, ...oldSpec } = spec
  const old = { ...rest, spec: oldSpec, readyAt: runningSince } as unknown as SandboxRecord
  expect(storedRecord(old)).toEqual(known())
})
