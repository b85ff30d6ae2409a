/** The totals that limits go by, against a count of all rows, whatever happened in whichever order. */

import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { holdsMachine, type SandboxState, sandboxStates } from '@portico/shared/lifecycle'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { IndexEntry, InUse } from '../ports.ts'
import { inUseSteps } from './in-use.ts'
import { MachineTable } from './machines.ts'
import { accountSchema, migrate } from './migrations.ts'
import { SandboxIndex } from './sandbox-index.ts'

const emptied = (work: (storage: DurableObjectStorage) => void, steps = accountSchema) =>
  runInDurableObject(env.ACCOUNTS.get(env.ACCOUNTS.newUniqueId()), async (_object, { storage }) => {
    migrate(storage, steps)
    work(storage)
    await storage.deleteAll()
  })

type Size = { readonly vcpus: number; readonly mem_mib: number }

function entry(id: string, state: SandboxState, version: number, size: Size): IndexEntry {
  const record = { id, region: 'local', status: 'running', ...size } as unknown as IndexEntry['record']
  const ended = state === 'destroyed' ? 9 : null
  return { version, state, record, createdAt: 1, endedAt: ended, usage: null, runningSince: null, happenings: [] }
}

/** Everything counted anew, without any total. */
function counted({ sql }: DurableObjectStorage): InUse {
  const sandboxes = sql.exec<{ id: string; state: SandboxState } & Size>('SELECT * FROM sandboxes').toArray()
  const held = sandboxes.filter(({ state }) => holdsMachine(state))
  const kept = sql.exec<{ sandbox: string } & Size>('SELECT * FROM admissions').toArray()
  const all: Size[] = [...held, ...kept.filter(({ sandbox }) => held.every(({ id }) => id !== sandbox))]
  return {
    sandboxes: all.length,
    vcpus: all.reduce((sum, { vcpus }) => sum + vcpus, 0),
    mem_mib: all.reduce((sum, { mem_mib }) => sum + mem_mib, 0),
    snapshots: sql.exec('SELECT 1 FROM snapshots').toArray().length,
  }
}

const id = fc.constantFrom('a', 'b', 'c', 'd')
const size = fc.record({ vcpus: fc.integer({ min: 1, max: 8 }), mem_mib: fc.integer({ min: 128, max: 1024 }) })
const step = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('index' as const), id, fc.constantFrom(...sandboxStates), size) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('admit' as const), id, fc.integer({ min: 1, max: 9 }), size) },
  fc.tuple(fc.constant('dismiss' as const), id),
  fc.tuple(fc.constant('expire' as const), fc.integer({ min: 1, max: 9 })),
  fc.tuple(fc.constant('forget' as const), id),
  fc.tuple(fc.constant('snapshot' as const), id),
  fc.tuple(fc.constant('delete' as const), id),
)

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

/** One account's tables, and each kind of write that there is. */
class Writes {
  readonly machines: MachineTable
  readonly #storage: DurableObjectStorage
  readonly #index: SandboxIndex
  #version = 0

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
    this.machines = new MachineTable(storage.sql)
    this.#index = new SandboxIndex(storage.sql)
  }

  take(step: Step): void {
    switch (step[0]) {
      case 'index':
        this.#index.put(entry(step[1], step[2], ++this.#version, step[3]), 1)
        this.machines.indexed(step[1], step[2])
        break
      case 'admit':
        this.machines.keep(step[1], step[3].vcpus, step[3].mem_mib, step[2])
        break
      case 'dismiss':
        this.machines.drop(step[1])
        break
      case 'expire':
        this.machines.inUse(step[1])
        break
      case 'forget':
        this.#index.forget(step[1])
        break
      case 'snapshot':
        this.#write("INSERT OR IGNORE INTO snapshots VALUES (?, '', '', '', 1, 0, '', '', NULL, 0)", step[1])
        break
      case 'delete':
        this.#write('DELETE FROM snapshots WHERE id = ?', step[1])
    }
  }

  #write(text: string, id: string): void {
    this.#storage.sql.exec(text, id).toArray()
  }
}

test('whatever is indexed, admitted, dismissed, forgotten or goes with its time, the totals are what a full count finds', async () => {
  await emptied((storage) => {
    const plan = fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      for (const table of ['sandboxes', 'admissions', 'snapshots']) storage.sql.exec(`DELETE FROM ${table}`).toArray()
      // What a sequence that failed has left behind is no reason for the next one to fail.
      storage.sql.exec('UPDATE in_use SET sandboxes = 0, vcpus = 0, mem_mib = 0, snapshots = 0').toArray()
      const writes = new Writes(storage)
      for (const one of steps) {
        writes.take(one)
        expect(writes.machines.inUse(0)).toEqual(counted(storage))
      }
      for (const table of ['sandboxes', 'admissions', 'snapshots']) storage.sql.exec(`DELETE FROM ${table}`).toArray()
      expect(writes.machines.inUse(0)).toEqual({ sandboxes: 0, vcpus: 0, mem_mib: 0, snapshots: 0 })
    })
    fc.assert(plan, { numRuns: 200 })
  })
})

test('what is rolled back is not counted', async () => {
  await emptied((storage) => {
    const writes = new Writes(storage)
    const broken = () =>
      storage.transactionSync(() => {
        writes.take(['index', 'a', 'running', { vcpus: 2, mem_mib: 128 }])
        writes.take(['admit', 'b', 5, { vcpus: 1, mem_mib: 128 }])
        throw new Error('broken off')
      })
    expect(broken).toThrow('broken off')
    expect(writes.machines.inUse(0)).toEqual({ sandboxes: 0, vcpus: 0, mem_mib: 0, snapshots: 0 })
  })
})

test('what an older account has is counted once, when its schema is brought up to date', async () => {
  const older = accountSchema.slice(0, accountSchema.indexOf(inUseSteps[0] ?? ''))
  await emptied((storage) => {
    const size = { vcpus: 2, mem_mib: 512 }
    const index = new SandboxIndex(storage.sql)
    const states = ['running', 'hibernating', 'hibernated', 'destroyed'] as const
    states.forEach((state, at) => {
      index.put(entry(`of-${state}`, state, at + 1, size), 1)
    })
    const keep = (sandbox: string) =>
      storage.sql.exec('INSERT INTO admissions VALUES (?, 1, 256, 9)', sandbox).toArray()
    for (const sandbox of ['of-running', 'of-hibernated', 'of-nobody']) keep(sandbox)
    storage.sql.exec("INSERT INTO snapshots VALUES ('s', '', '', '', 1, 0, '', '')").toArray()
    migrate(storage, accountSchema)
    migrate(storage, accountSchema)
    const machines = new MachineTable(storage.sql)
    expect(machines.inUse(0)).toEqual({ sandboxes: 4, vcpus: 6, mem_mib: 1536, snapshots: 1 })
    expect(machines.inUse(9)).toEqual({ sandboxes: 2, vcpus: 4, mem_mib: 1024, snapshots: 1 })
  }, older)
})

test('the totals count the states that hold a machine, and no rows are scanned for them', async () => {
  await emptied((storage) => {
    for (const state of sandboxStates) {
      const writes = new Writes(storage)
      storage.sql.exec('DELETE FROM sandboxes').toArray()
      writes.take(['index', 'a', state, { vcpus: 1, mem_mib: 128 }])
      expect([state, writes.machines.inUse(0).sandboxes]).toEqual([state, holdsMachine(state) ? 1 : 0])
    }
    const plan = (text: string) => JSON.stringify(storage.sql.exec(`EXPLAIN QUERY PLAN ${text}`).toArray())
    expect(plan('DELETE FROM admissions WHERE until <= 9')).toContain('admissions_until')
  })
})
