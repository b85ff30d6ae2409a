import { type SandboxState, sandboxStates } from '@portico/shared/lifecycle'
import { describe, expect, test } from 'vitest'
import { usage, World } from '../../test/sandbox-world.ts'
import { auditNotes, happened } from './happened.ts'
import { newRecord, type SandboxRecord } from './record.ts'

const { input } = new World()
const record = (patch: Partial<SandboxRecord>): SandboxRecord => ({
  ...newRecord(input, 0),
  ...{ generation: 1, runner: 'runner-1', createMs: 7 },
  ...patch,
})
const between = (before: Partial<SandboxRecord>, now: Partial<SandboxRecord>) => happened(record(before), record(now))

describe('what happened', () => {
  test('begins when a runner is asked, not before', () => {
    const unplaced = { generation: 0, runner: null, createMs: null }
    expect(happened(undefined, record(unplaced))).toEqual([])
    expect(between(unplaced, { ...unplaced, state: 'destroyed', reason: 'full' })).toEqual([])
    expect(between(unplaced, { createMs: null })).toEqual(['sandbox.created'])
    expect(happened(undefined, record({ createMs: null, forkedFrom: 'run1' }))).toEqual(['sandbox.created'])
    expect(between({}, { generation: 2 })).toEqual([])
  })

  test.each([
    ['creating', 'running', 'running'],
    ['running', 'hibernating', undefined],
    ['hibernating', 'hibernated', 'hibernated'],
    ['running', 'hibernated', 'hibernated'],
    ['hibernating', 'running', undefined],
    ['hibernated', 'resuming', undefined],
    ['resuming', 'hibernated', undefined],
    ['resuming', 'running', 'resumed'],
    ['hibernated', 'running', 'resumed'],
    ['running', 'error', 'failed'],
    ['running', 'destroying', undefined],
    ['destroying', 'destroyed', 'destroyed'],
    ['running', 'destroyed', 'destroyed'],
    ['hibernated', 'lost', 'lost'],
  ] as const)('from %s to %s is %s', (from, to, event) => {
    expect(between({ state: from }, { state: to })).toEqual(event === undefined ? [] : [`sandbox.${event}`])
  })

  test('a create that failed is no end of a sandbox that its owner ended', () => {
    const never = { createMs: null, state: 'destroyed' as const }
    expect(between({ createMs: null }, { ...never, reason: 'cannot boot' })).toEqual(['sandbox.failed'])
    expect(between({ createMs: null }, { ...never, reason: null })).toEqual(['sandbox.destroyed'])
  })

  test('out of reach and back is told of what can be used, together with what its runner then says', () => {
    const away = { unreachableSince: 5 }
    expect(between({ state: 'running' }, { state: 'running', ...away })).toEqual(['sandbox.unreachable'])
    expect(between({ state: 'running', ...away }, { state: 'running' })).toEqual(['sandbox.reachable'])
    expect(between({ state: 'running', ...away }, { state: 'hibernated' })).toEqual([
      'sandbox.reachable',
      'sandbox.hibernated',
    ])
    expect(between({ state: 'running', ...away }, { state: 'lost' })).toEqual(['sandbox.lost'])
    expect(between({ state: 'running', ...away }, { state: 'error' })).toEqual(['sandbox.failed'])
  })

  test('nothing happens where nothing changes', () => {
    for (const state of sandboxStates satisfies readonly SandboxState[])
      expect(between({ state }, { state })).toEqual([])
  })
})

describe('the audit log', () => {
  test('tells the machine, the snapshot and the use, each with its event', () => {
    const restored = record({ restoredFrom: 'snap1', state: 'running' })
    expect(auditNotes(['sandbox.running'], restored, 9)).toEqual([
      { event: 'sandbox.restored', at: 9, data: { snapshot_id: 'snap1' } },
    ])
    expect(auditNotes(['sandbox.running'], record({}), 9)).toEqual([])
    const lost = record({ state: 'lost', reason: 'its runner was given up', usage })
    expect(auditNotes(['sandbox.lost'], lost, 9)[0]?.data).toEqual({ reason: 'its runner was given up', usage })
    expect(auditNotes(['sandbox.created'], record({ forkedFrom: 'run1' }), 9)[0]?.data).toMatchObject({
      forked_from: 'run1',
    })
  })
})
