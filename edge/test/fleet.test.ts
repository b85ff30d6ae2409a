/** A region's table of runners on a clock of the test, in the object's real storage. */

import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { FakeClock } from '@portico/shared/clock'
import { describe, expect, test } from 'vitest'
import { Fleet } from '../src/placement/fleet.ts'
import { ReservationTable } from '../src/store/reservations.ts'
import { RunnerTable } from '../src/store/runners.ts'

const report = {
  version: '1',
  accelerator: 'tcg',
  draining: false,
  vcpus: 2,
  free_mem_mib: 2048,
  free_slots: 2,
  total_mem_mib: 8192,
  load: 0,
  warm: {},
  generation: 2,
  sockets: 2,
  images: ['python'],
  sandboxes: [] as string[],
}
const need = { region: 'test', image: 'python', memMib: 1024, vcpus: 1, avoid: [] }

/** A memory that knows what is stored. */
const awake = (sql: SqlStorage, clock: FakeClock) => new Fleet(new RunnerTable(sql), new ReservationTable(sql), clock)

/** A fleet with one runner that has reported; `again` is what an eviction leaves of it. */
function withFleet(
  name: string,
  work: (fleet: Fleet, clock: FakeClock, again: () => Fleet) => unknown,
): Promise<unknown> {
  const stub = env.REGIONS.get(env.REGIONS.idFromName(name))
  return runInDurableObject(stub, async (_object, { storage }) => {
    const clock = new FakeClock(1_000_000)
    const fleet = awake(storage.sql, clock)
    fleet.add({ id: 'a', region: 'test', name: 'first', hash: 'hash', createdAt: '2026-01-01T00:00:00.000Z' })
    fleet.report('a', 't1', clock.now(), report)
    await work(fleet, clock, () => awake(storage.sql, clock))
  })
}

function codeOf(work: () => unknown): string {
  try {
    return String(work())
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('a fleet', () => {
  test('promises no more than there is, and counts no promise twice', () =>
    withFleet('promises', (fleet) => {
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('a')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('a')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's2' }))).toBe('a')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's3' }))).toBe('capacity')
      fleet.release('s1')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's3' }))).toBe('a')
    }))

  test('promises a certain runner to as many as fit, and counts those for everybody else', () =>
    withFleet('reserved', (fleet) => {
      const input = { region: 'test', runner: 'a', memMib: 1024, vcpus: 1 }
      expect(fleet.reserve({ ...input, sandboxes: ['s1', 's2', 's3'] })).toBe(2)
      expect(fleet.reserve({ ...input, sandboxes: ['s1', 's2'] })).toBe(2)
      expect(codeOf(() => fleet.reserve({ ...input, sandboxes: ['s3'] }))).toBe('capacity')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's3' }))).toBe('capacity')
      fleet.release('s2')
      expect(fleet.reserve({ ...input, sandboxes: ['s3', 's4'] })).toBe(1)
      expect(codeOf(() => fleet.reserve({ ...input, runner: 'b', sandboxes: ['s5'] }))).toBe('runner_disconnected')
    }))

  test('forgets a promise once the runner reports the sandbox, and only that', () =>
    withFleet('reported', (fleet, clock) => {
      fleet.place({ ...need, sandbox: 's1' })
      fleet.place({ ...need, sandbox: 's2' })
      fleet.report('a', 't1', clock.now(), { ...report, free_mem_mib: 1024, free_slots: 1, sandboxes: ['s1'] })
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's3' }))).toBe('capacity')
      fleet.report('a', 't1', clock.now(), { ...report, free_mem_mib: 1024, free_slots: 1, sandboxes: ['s1', 's2'] })
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's3' }))).toBe('a')
    }))

  test('keeps a promise although another runner reports the sandbox', () =>
    withFleet('others', (fleet, clock) => {
      fleet.place({ ...need, sandbox: 's1' })
      fleet.add({ id: 'b', region: 'test', name: 'second', hash: 'hash', createdAt: '2026-01-02T00:00:00.000Z' })
      fleet.report('b', 't2', clock.now(), { ...report, free_slots: 0, sandboxes: ['s1'] })
      expect(fleet.promised('a')).toBe(1)
      fleet.report('a', 't1', clock.now(), { ...report, sandboxes: ['s1'] })
      expect(fleet.promised('a')).toBe(0)
    }))

  test('counts what a runner has, however few it names', () =>
    withFleet('held', (fleet, clock, again) => {
      fleet.report('a', 't1', clock.now(), { ...report, sandboxes: ['s1'], held: 5000 })
      for (const one of [fleet, again()]) expect(one.info('a', null)?.sandboxes).toBe(5000)
    }))

  test('chooses no runner that was not there when it was asked, until it reports again', () =>
    withFleet('skipped', async (fleet, clock, again) => {
      const asked = clock.now()
      await clock.advance(10)
      fleet.report('a', 't1', clock.now(), report)
      fleet.silent('a', asked)
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('a')
      fleet.silent('a', clock.now())
      for (const one of [fleet, again()]) expect(codeOf(() => one.place({ ...need, sandbox: 's2' }))).toBe('no_runner')
      await clock.advance(1)
      fleet.report('a', 't1', clock.now(), report)
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's2' }))).toBe('a')
      fleet.silent('nobody', clock.now())
    }))

  test('forgets a promise that nobody kept after six minutes', () =>
    withFleet('kept', async (fleet, clock) => {
      fleet.place({ ...need, sandbox: 's1' })
      fleet.place({ ...need, sandbox: 's2' })
      await clock.advance(359_999)
      fleet.report('a', 't1', clock.now(), report)
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's3' }))).toBe('capacity')
      await clock.advance(1)
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's3' }))).toBe('a')
    }))

  test('does not count on a runner that has not reported for 90 s', () =>
    withFleet('silent', async (fleet, clock) => {
      await clock.advance(89_999)
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('a')
      await clock.advance(1)
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's2' }))).toBe('no_runner')
      expect(fleet.images()).toEqual([])
    }))

  test('takes a runner away only for the tunnel that reported last', () =>
    withFleet('tunnels', (fleet, clock) => {
      fleet.report('a', 't2', clock.now(), report)
      fleet.disconnect('a', 't1')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('a')
      fleet.disconnect('a', 't2')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's2' }))).toBe('no_runner')
    }))

  test('does not let a late report overtake a newer one', () =>
    withFleet('late', (fleet, clock) => {
      fleet.report('a', 't2', clock.now() + 5, { ...report, free_slots: 0 })
      fleet.report('a', 't1', clock.now() + 4, report)
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('capacity')
    }))

  test('asks which tunnels are in force, and leaves alone a runner that cannot be asked', () =>
    withFleet('asked', async (_before, _clock, again) => {
      const fleet = again()
      await fleet.checkTunnels(async () => {
        throw new Error('cannot be asked')
      })
      expect(fleet.infos(new Map())).toMatchObject([{ id: 'a', connected: true }])
      await fleet.checkTunnels(async () => 't1')
      expect(fleet.infos(new Map())).toMatchObject([{ connected: true }])
      await fleet.checkTunnels(async () => null)
      expect(fleet.infos(new Map())).toMatchObject([{ connected: false }])
    }))

  test('asks nobody who has reported since it woke', () =>
    withFleet('heard', async (_before, clock, again) => {
      const fleet = again()
      fleet.report('a', 't2', clock.now(), report)
      await fleet.checkTunnels(async () => null)
      expect(await fleet.placeSurely({ ...need, sandbox: 's1' }, async () => null)).toBe('a')
    }))

  test('counts on a runner that it has not heard since it woke only once that was found to be there', () =>
    withFleet('woken', async (before, clock, again) => {
      before.add({ id: 'b', region: 'test', name: 'second', hash: 'hash', createdAt: '2026-01-02T00:00:00.000Z' })
      before.report('b', 't9', clock.now(), { ...report, free_mem_mib: 1024 })
      const asked: string[] = []
      const inForce = async (runner: string) => {
        asked.push(runner)
        return runner === 'b' ? 't9' : null
      }
      const fleet = again()
      expect(await fleet.placeSurely({ ...need, sandbox: 's1' }, inForce)).toBe('b')
      expect(asked).toEqual(['a', 'b'])
      await expect(fleet.placeSurely({ ...need, sandbox: 's2' }, inForce)).rejects.toMatchObject({ code: 'capacity' })
      await expect(
        again().reserveSurely({ region: 'test', runner: 'a', sandboxes: ['s3'], memMib: 1, vcpus: 1 }, inForce),
      ).rejects.toMatchObject({ code: 'runner_disconnected' })
    }))

  test('knows after an eviction what it promised, what was reported and who is emptied', () =>
    withFleet('evicted', async (before, clock, again) => {
      before.place({ ...need, sandbox: 's1' })
      before.place({ ...need, sandbox: 's2' })
      await clock.advance(10_000)
      const full = again()
      expect(codeOf(() => full.place({ ...need, sandbox: 's3' }))).toBe('capacity')
      await clock.advance(350_000)
      full.report('a', 't1', clock.now(), report)
      expect(codeOf(() => full.place({ ...need, sandbox: 's3' }))).toBe('a')
      full.drain('a', 'wait')
      const drained = again()
      expect(drained.drainOf('a')).toBe('wait')
      expect(codeOf(() => drained.place({ ...need, sandbox: 's4' }))).toBe('no_runner')
      drained.drain('a', null)
      expect(codeOf(() => again().place({ ...need, sandbox: 's4' }))).toBe('a')
    }))

  test('forgets a runner with all that was promised on it, and what it still says', () =>
    withFleet('removed', (fleet, clock, again) => {
      fleet.place({ ...need, sandbox: 's1' })
      fleet.remove('a')
      fleet.report('a', 't1', clock.now(), report)
      for (const one of [fleet, again()]) {
        expect(one.infos(new Map())).toEqual([])
        expect(one.promised('a')).toBe(0)
        expect(one.hash('a')).toBeUndefined()
      }
    }))

  test('counts vCPUs where a runner states them', () =>
    withFleet('vcpus', (fleet, clock) => {
      fleet.report('a', 't1', clock.now(), { ...report, free_vcpus: 3, free_slots: 9, free_mem_mib: 65_536 })
      expect(codeOf(() => fleet.place({ ...need, vcpus: 2, sandbox: 's1' }))).toBe('a')
      expect(codeOf(() => fleet.place({ ...need, vcpus: 2, sandbox: 's2' }))).toBe('capacity')
      expect(codeOf(() => fleet.place({ ...need, vcpus: 1, sandbox: 's2' }))).toBe('a')
    }))

  test('does not give work to a runner that drains', () =>
    withFleet('drains', (fleet, clock) => {
      fleet.report('a', 't1', clock.now(), { ...report, draining: true })
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('no_runner')
      expect(fleet.infos(new Map())).toMatchObject([{ connected: true, draining: true }])
    }))
})
