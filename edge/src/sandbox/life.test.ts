import type { SandboxEventMessage } from '@portico/shared/control'
import { newAccountId } from '@portico/shared/ids'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { codeOf, ended, failing, made, usage, World } from '../../test/sandbox-world.ts'
import { create } from './create.ts'
import { destroy } from './destroy.ts'
import { claims, hear, lose, wake } from './news.ts'
import { createLimitMs, keptAfterEndMs } from './record.ts'
import { hibernate, resume } from './sleep.ts'
import { update } from './update.ts'

let world: World

beforeEach(() => {
  world = new World()
})

/** A runner that answers when the test says so. */
function held<Answer>() {
  return Promise.withResolvers<Answer>()
}

const event = (state: SandboxEventMessage['state'], generation = 1): SandboxEventMessage => ({
  op: 'sandbox.event',
  sandbox: world.input.sandbox,
  generation,
  state,
})

describe('a create', () => {
  test('is written down before anybody hears of it, and its alarm outlasts it', async () => {
    const answer = held<typeof made>()
    world.create = () => answer.promise
    const pending = create(world.life, world.input)
    expect(world.stored).toMatchObject({ state: 'creating', generation: 0 })
    expect(JSON.stringify(world.stored)).not.toContain('SECRET')
    expect(world.alarm).toBe(world.clock.now() + 5000)
    await world.settle()
    expect(world.alarm).toBe(world.clock.now() + createLimitMs)
    answer.resolve(made)
    expect(await pending).toMatchObject({ status: 'running', resolved_image: 'preset', create_ms: 3 })
    expect(world.alarm).toBeUndefined()
    expect(world.index.map(({ state }) => state)).toEqual(['creating', 'running'])
  })

  test('tries up to three runners that have no room, each in a new generation', async () => {
    world.create = async (runner) => (runner === 'runner-3' ? made : failing('capacity', 'answered'))
    await create(world.life, world.input)
    expect(world.events).toEqual([
      'place runner-1',
      'create runner-1 1',
      'place runner-2',
      'create runner-2 2',
      'place runner-3',
      'create runner-3 3',
    ])
  })

  test('goes on elsewhere when a runner was gone before it heard of it, and ends with its error if there is no other', async () => {
    world.create = async () => failing('runner_disconnected', 'not_sent')
    expect(await codeOf(create(world.life, world.input))).toBe('runner_disconnected')
    await world.settle()
    expect(world.events.filter((name) => name.startsWith('create'))).toHaveLength(3)
    expect(world.events.at(-1)).toBe('release')
    expect(world.state).toBe('destroyed')
    expect(world.index.at(-1)).toMatchObject({ state: 'destroyed', usage: null })
  })

  test('goes on elsewhere when a runner does not have the image, and says of a full one that has it that it is full', async () => {
    world.places = ['runner-1']
    world.create = async () => failing('image_unknown', 'answered')
    expect(await codeOf(create(world.life, world.input))).toBe('capacity')
    expect(world.events.slice(0, 3)).toEqual(['place runner-1', 'create runner-1 1', 'place nothing'])
  })

  test('goes to a runner that has the image after others refused it', async () => {
    world.create = async (runner) => (runner === 'runner-2' ? made : failing('image_not_allowed', 'answered'))
    expect(await codeOf(create(world.life, world.input))).toBe('done')
    expect(world.events.at(-1)).toBe('create runner-2 2')
  })

  test('that the runner refused for good is over at once', async () => {
    world.create = async () => failing('boot_failed', 'answered')
    expect(await codeOf(create(world.life, world.input))).toBe('boot_failed')
    await world.settle()
    expect(world.events).toEqual(['place runner-1', 'create runner-1 1', 'release'])
    expect(world.state).toBe('destroyed')
  })

  test('of which nobody knows how it ended is destroyed until the runner says so', async () => {
    world.create = async () => failing('deadline', 'unknown')
    world.destroy = async () => failing('runner_disconnected', 'not_sent')
    expect(await codeOf(create(world.life, world.input))).toBe('deadline')
    await world.settle()
    expect(world.state).toBe('destroying')
    const first = (world.alarm ?? 0) - world.clock.now()
    expect(first).toBe(5000)
    await world.clock.advance(first)
    await wake(world.wakeUp())
    expect((world.alarm ?? 0) - world.clock.now()).toBe(10_000)
    world.destroy = async () => ended
    await world.clock.advance(10_000)
    await wake(world.wakeUp())
    expect(world.state).toBe('destroyed')
    expect(world.events.filter((name) => name === 'destroy runner-1 1')).toHaveLength(3)
  })

  test('interrupted by the loss of memory is destroyed by the alarm; one that is under way is left alone', async () => {
    const answer = held<typeof made>()
    world.create = () => answer.promise
    const pending = create(world.life, world.input)
    await world.settle()
    await world.clock.advance(createLimitMs)
    await wake(world.life)
    expect(world.state).toBe('creating')
    expect(world.alarm).toBe(world.clock.now() + 5000)
    await wake(world.wakeUp())
    expect(world.state).toBe('destroyed')
    expect(world.events.at(-2)).toBe('destroy runner-1 1')
    answer.resolve(made)
    void pending
  })

  test('destroyed while the region was choosing gives the place back', async () => {
    const pending = create(world.life, world.input)
    const gone = destroy(world.life, world.caller)
    expect(await codeOf(pending)).toBe('conflict')
    await gone
    await world.settle()
    expect(world.events.filter((name) => name.startsWith('create'))).toEqual([])
    expect(world.events).toContain('release')
    expect(world.state).toBe('destroyed')
  })

  test('that is repeated under its id answers what it made, and anybody else is refused', async () => {
    const made = await create(world.life, world.input)
    expect(await create(world.wakeUp(), world.input)).toEqual(made)
    const other = { ...world.input, account: newAccountId() }
    expect(await codeOf(create(world.life, other))).toBe('conflict')
    expect(await codeOf(create(world.life, { ...world.input, region: 'eu' }))).toBe('conflict')
    expect(world.state).toBe('running')
    expect(world.events).toEqual(['place runner-1', 'create runner-1 1'])
  })

  test('that is repeated while it is under way joins it', async () => {
    const answer = held<typeof made>()
    world.create = () => answer.promise
    const both = [create(world.life, world.input), create(world.life, world.input)]
    answer.resolve(made)
    const [first, second] = await Promise.all(both)
    expect(second).toEqual(first)
    expect(world.events).toEqual(['place runner-1', 'create runner-1 1'])
  })

  test('that is repeated after it was interrupted, or is over, makes room for a new one', async () => {
    world.create = () => new Promise(() => undefined)
    const lost = create(world.life, world.input)
    await world.settle()
    expect(await codeOf(create(world.wakeUp(), world.input))).toBe('boot_failed')
    await world.settle()
    expect(world.state).toBe('destroyed')
    expect(world.events).toContain('destroy runner-1 1')
    expect(await codeOf(create(world.life, world.input))).toBe('boot_failed')
    void lost
  })
})

describe('a destroy', () => {
  test('is final from the moment it is asked for', async () => {
    await create(world.life, world.input)
    const answer = held<typeof ended>()
    world.destroy = () => answer.promise
    const pending = destroy(world.life, world.caller)
    expect(world.state).toBe('destroying')
    expect(() => world.life.usable(world.caller)).toThrow('cannot find the sandbox')
    answer.resolve(ended)
    expect((await pending).usage).toEqual(usage)
    expect(await codeOf(destroy(world.life, world.caller))).toBe('sandbox_not_found')
  })

  test('of another account or region finds nothing', async () => {
    await create(world.life, world.input)
    expect(await codeOf(destroy(world.life, { ...world.caller, account: 'other' }))).toBe('sandbox_not_found')
    expect(await codeOf(destroy(world.life, { ...world.caller, region: 'eu' }))).toBe('sandbox_not_found')
    expect(world.state).toBe('running')
  })

  test('of a sandbox that the runner no longer knows tells the time that it ran', async () => {
    await create(world.life, world.input)
    await world.clock.advance(7000)
    world.destroy = async () => failing('sandbox_not_found', 'answered')
    expect((await destroy(world.life, world.caller)).usage).toMatchObject({ cpu_ms: 0, uptime_ms: 7000 })
  })

  test('that the runner does not answer waits longer each time, at most five minutes', async () => {
    await create(world.life, world.input)
    world.destroy = async () => failing('runner_disconnected', 'not_sent')
    const waits: number[] = []
    expect(await codeOf(destroy(world.life, world.caller))).toBe('runner_disconnected')
    for (let turn = 0; turn < 9; turn++) {
      const wait = (world.alarm ?? 0) - world.clock.now()
      waits.push(wait)
      await world.clock.advance(wait)
      await wake(world.wakeUp())
    }
    expect(waits).toEqual([5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000])
  })

  test('is given up after a day of silence', async () => {
    await create(world.life, world.input)
    world.destroy = async () => failing('runner_disconnected', 'not_sent')
    await codeOf(destroy(world.life, world.caller))
    const start = world.clock.now()
    while (world.state === 'destroying') {
      await world.clock.advance((world.alarm ?? 0) - world.clock.now())
      await wake(world.wakeUp())
    }
    expect(world.clock.now() - start).toBeGreaterThan(23 * 3_600_000)
    expect(world.stored).toMatchObject({ state: 'destroyed', reason: 'its runner did not come back' })
  })

  test('overtaken by the end that the runner tells keeps the first figures', async () => {
    await create(world.life, world.input)
    const answer = held<typeof ended>()
    world.destroy = () => answer.promise
    const pending = destroy(world.life, world.caller)
    const told = { ...usage, cpu_ms: 77 }
    await hear(world.life, 'runner-1', { ...event('destroyed'), usage: told })
    answer.resolve(ended)
    expect((await pending).usage).toEqual(told)
  })
})

describe('an update', () => {
  test('holds once the runner has it', async () => {
    await create(world.life, world.input)
    expect(await update(world.life, world.caller, { idleTimeout: 5 })).toMatchObject({ timeout: 5 })
    world.update = async () => failing('runner_disconnected', 'not_sent')
    expect(await codeOf(update(world.life, world.caller, { idleTimeout: 9 }))).toBe('runner_disconnected')
    expect(world.stored?.spec.idle_timeout).toBe(5)
  })

  test('whose answer comes after a destroy changes nothing', async () => {
    await create(world.life, world.input)
    const answer = held<{ ok: true; value: null }>()
    world.update = () => answer.promise
    const pending = update(world.life, world.caller, { idleTimeout: 5 })
    await destroy(world.life, world.caller)
    const before = world.stored
    answer.resolve({ ok: true, value: null })
    expect(await codeOf(pending)).toBe('sandbox_not_found')
    expect(world.stored).toEqual(before)
  })
})

describe('news', () => {
  test('counts only from the runner and the generation in force', async () => {
    await create(world.life, world.input)
    const before = world.stored
    await hear(world.life, 'runner-2', event('destroyed'))
    await hear(world.life, 'runner-1', event('destroyed', 2))
    await lose(world.life, 'runner-2', 1)
    await lose(world.life, 'runner-1', 2)
    expect(world.stored).toEqual(before)
    expect(claims(world.life, 'runner-1', 1)).toBe(true)
    expect(claims(world.life, 'runner-1', 2)).toBe(false)
    expect(claims(world.life, 'runner-2', 1)).toBe(false)
  })

  test('of a loss after which the end is told leaves the end', async () => {
    await create(world.life, world.input)
    await lose(world.life, 'runner-1', 1)
    expect(world.stored).toMatchObject({ state: 'error', reason: 'lost by its runner' })
    expect(claims(world.life, 'runner-1', 1)).toBe(false)
    await hear(world.life, 'runner-1', { ...event('destroyed'), usage })
    expect(world.stored).toMatchObject({ state: 'destroyed', usage })
  })

  test('of an error while it is created leaves the answer to the create', async () => {
    const answer = held<ReturnType<typeof failing>>()
    world.create = () => answer.promise
    const pending = create(world.life, world.input)
    await world.settle()
    await hear(world.life, 'runner-1', event('error'))
    expect(world.state).toBe('creating')
    answer.resolve(failing('boot_failed', 'answered'))
    expect(await codeOf(pending)).toBe('boot_failed')
  })
})

describe('the index of the account', () => {
  test('that could not be told is told by the alarm', async () => {
    world.accountFails = new Error('down')
    await create(world.life, world.input)
    expect(world.index).toEqual([])
    expect(world.alarm).toBe(world.clock.now() + 5000)
    world.accountFails = undefined
    await wake(world.wakeUp())
    expect(world.index).toMatchObject([{ state: 'running' }])
    expect(world.alarm).toBeUndefined()
  })

  test('is complete before the record is forgotten', async () => {
    await create(world.life, world.input)
    await destroy(world.life, world.caller)
    world.accountFails = undefined
    expect(world.alarm).toBe(world.clock.now() + keptAfterEndMs)
    await world.clock.advance(keptAfterEndMs - 1)
    await wake(world.wakeUp())
    expect(world.state).toBe('destroyed')
    await world.clock.advance(5001)
    await wake(world.wakeUp())
    expect(world.stored).toBeUndefined()
  })
})

describe('whatever happens in whatever order', () => {
  const step = fc.constantFrom(
    'destroy',
    'update',
    'idle',
    'crash',
    'stranger',
    'lost',
    'hibernate',
    'resume',
    'asleep',
    'awake',
    'cut',
    'sleep',
    'alarm',
    'answer',
    'fail',
  )

  test('the end is final, versions rise, the index never runs ahead, and nothing hangs without an alarm', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        world = new World()
        const answers: ReturnType<typeof held<typeof made | ReturnType<typeof failing>>>[] = []
        world.create = () => {
          const answer = held<typeof made | ReturnType<typeof failing>>()
          answers.push(answer)
          return answer.promise
        }
        const pending: Promise<unknown>[] = [codeOf(create(world.life, world.input))]
        let isOver = false
        let version = 0
        for (const name of steps) {
          await world.clock.advance(1000)
          await run(name, pending, answers)
          await world.clock.advance(0)
          const { stored } = world
          if (stored === undefined) return
          if (isOver) expect(stored.state).toBe('destroyed')
          isOver ||= stored.state === 'destroyed'
          expect(stored.version).toBeGreaterThanOrEqual(version)
          expect(stored.indexed).toBeLessThanOrEqual(stored.version)
          version = stored.version
          if (!['running', 'hibernated', 'error', 'destroyed'].includes(stored.state)) expect(world.alarm).toBeDefined()
          if (stored.state === 'hibernated') expect(stored.runningSince).toBeNull()
          if (stored.state === 'running') expect(stored.runningSince).not.toBeNull()
        }
        world.create = async () => made
        for (const answer of answers) answer.resolve(made)
        await Promise.all(pending)
        await world.settle()
        expect(world.stored?.indexed).toBe(world.stored?.version)
      }),
      { numRuns: 300 },
    )
  })

  async function run(
    name: string,
    pending: Promise<unknown>[],
    answers: { resolve: (answer: typeof made | ReturnType<typeof failing>) => void }[],
  ): Promise<void> {
    const generation = world.stored?.generation ?? 1
    const runner = world.stored?.runner ?? 'runner-1'
    switch (name) {
      case 'destroy':
        return void pending.push(codeOf(destroy(world.life, world.caller)))
      case 'update':
        return void pending.push(codeOf(update(world.life, world.caller, { idleTimeout: 3 })))
      case 'idle':
        return void (await hear(world.life, runner, { ...event('destroyed', generation), usage }))
      case 'crash':
        return void (await hear(world.life, runner, event('error', generation)))
      case 'stranger':
        return void (await hear(world.life, 'runner-9', event('destroyed', generation)))
      case 'hibernate':
        return void pending.push(codeOf(hibernate(world.life, world.caller)))
      case 'resume':
        return void pending.push(codeOf(resume(world.life, world.caller)))
      case 'asleep':
        return void (await hear(world.life, runner, event('hibernated', generation)))
      case 'awake':
        return void (await hear(world.life, runner, event('running', generation)))
      case 'cut':
        world.hibernate = async () => failing('deadline', 'unknown')
        world.resume = async () => failing('capacity', 'answered')
        return
      case 'lost':
        return lose(world.life, runner, generation)
      case 'sleep':
        return void world.wakeUp()
      case 'alarm':
        await world.clock.advance(Math.max(0, (world.alarm ?? 0) - world.clock.now()))
        return wake(world.life)
      case 'answer':
        return answers.at(-1)?.resolve(made)
      case 'fail':
        return answers.at(-1)?.resolve(failing('capacity', 'answered'))
    }
  }
})
