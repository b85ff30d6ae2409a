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
  images: ['python'],
  sandboxes: [] as string[],
}
const need = { region: 'test', image: 'python', memMib: 1024, avoid: [] }

/** A fleet with one runner that has reported. */
function withFleet(name: string, work: (fleet: Fleet, clock: FakeClock) => unknown): Promise<unknown> {
  const stub = env.REGIONS.get(env.REGIONS.idFromName(name))
  return runInDurableObject(stub, async (_object, { storage }) => {
    const clock = new FakeClock(1_000_000)
    const fleet = new Fleet(new RunnerTable(storage.sql), new ReservationTable(storage.sql), clock)
    fleet.runners.add('a', 'test', 'first', 'hash', '2026-01-01T00:00:00.000Z')
    fleet.report('a', 't1', clock.now(), report)
    await work(fleet, clock)
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
      fleet.reservations.release('s1')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's3' }))).toBe('a')
    }))

  test('promises a certain runner to as many as fit, and counts those for everybody else', () =>
    withFleet('reserved', (fleet) => {
      const input = { region: 'test', runner: 'a', memMib: 1024 }
      expect(fleet.reserve({ ...input, sandboxes: ['s1', 's2', 's3'] })).toBe(2)
      expect(fleet.reserve({ ...input, sandboxes: ['s1', 's2'] })).toBe(2)
      expect(codeOf(() => fleet.reserve({ ...input, sandboxes: ['s3'] }))).toBe('capacity')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's3' }))).toBe('capacity')
      fleet.reservations.release('s2')
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

  test('forgets a promise that nobody kept after five minutes', () =>
    withFleet('kept', async (fleet, clock) => {
      fleet.place({ ...need, sandbox: 's1' })
      fleet.place({ ...need, sandbox: 's2' })
      await clock.advance(299_999)
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
      fleet.runners.disconnect('a', 't1')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('a')
      fleet.runners.disconnect('a', 't2')
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's2' }))).toBe('no_runner')
    }))

  test('does not let a late report overtake a newer one', () =>
    withFleet('late', (fleet, clock) => {
      fleet.report('a', 't2', clock.now() + 5, { ...report, free_slots: 0 })
      fleet.report('a', 't1', clock.now() + 4, report)
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('capacity')
    }))

  test('asks which tunnels are in force, and leaves alone a runner that cannot be asked', () =>
    withFleet('asked', async (fleet) => {
      await fleet.checkTunnels(async () => {
        throw new Error('cannot be asked')
      })
      expect(fleet.infos()).toMatchObject([{ id: 'a', connected: true }])
      await fleet.checkTunnels(async () => 't1')
      expect(fleet.infos()).toMatchObject([{ connected: true }])
      await fleet.checkTunnels(async () => null)
      expect(fleet.infos()).toMatchObject([{ connected: false }])
    }))

  test('does not give work to a runner that drains', () =>
    withFleet('drains', (fleet, clock) => {
      fleet.report('a', 't1', clock.now(), { ...report, draining: true })
      expect(codeOf(() => fleet.place({ ...need, sandbox: 's1' }))).toBe('no_runner')
      expect(fleet.infos()).toMatchObject([{ connected: true, draining: true }])
    }))
})
