import { AppError } from '@portico/shared/errors'
import { describe, expect, test } from 'vitest'
import { type Candidate, choose, type Need, roomFor } from './score.ts'

const runner = (id: string, more: Partial<Candidate> = {}): Candidate => ({
  id,
  connected: true,
  draining: false,
  freeMemMib: 4096,
  freeVcpus: Number.POSITIVE_INFINITY,
  freeSlots: 4,
  images: new Set(['python']),
  warm: {},
  promised: 0,
  load: 0,
  ...more,
})
const need: Need = { region: 'local', image: 'python', memMib: 1024, vcpus: 2, avoid: [] }

function refusal(candidates: Candidate[], asked: Need = need): string {
  try {
    choose(candidates, asked)
  } catch (error) {
    if (error instanceof AppError) return error.code
  }
  return 'accepted'
}

describe('choosing a runner', () => {
  test('takes the one with the most memory, then the most places, then the lowest id', () => {
    expect(choose([runner('a'), runner('b', { freeMemMib: 8192 })], need).id).toBe('b')
    expect(choose([runner('a'), runner('b', { freeSlots: 9 })], need).id).toBe('b')
    expect(choose([runner('b'), runner('a')], need).id).toBe('a')
  })

  test('prefers a runner that has the image ready over one with more room', () => {
    const other = runner('a', { freeMemMib: 65_536, images: new Set() })
    expect(choose([other, runner('b')], need).id).toBe('b')
  })

  test('asks a runner that does not list the image when nobody lists it', () => {
    expect(choose([runner('a', { images: new Set() })], need).id).toBe('a')
  })

  test('prefers a machine that stands ready over more room, but not one that may be taken already', () => {
    const roomy = runner('a', { freeMemMib: 65_536 })
    expect(choose([roomy, runner('b', { warm: { python: 1 } })], need).id).toBe('b')
    expect(choose([roomy, runner('b', { warm: { python: 1 }, promised: 1 })], need).id).toBe('a')
    expect(choose([roomy, runner('b', { warm: { node: 1 } })], need).id).toBe('a')
  })

  test('leaves a busy host alone as long as another can do it', () => {
    const busy = runner('a', { load: 1.5, warm: { python: 3 }, freeMemMib: 65_536 })
    expect(choose([busy, runner('b')], need).id).toBe('b')
    expect(choose([busy, runner('b', { freeSlots: 0 })], need).id).toBe('a')
  })

  test('fits exactly, and refuses one MiB, one vCPU or one place less', () => {
    expect(choose([runner('a', { freeMemMib: 1024, freeVcpus: 2, freeSlots: 1 })], need).id).toBe('a')
    expect(refusal([runner('a', { freeVcpus: 1 })])).toBe('capacity')
    expect(refusal([runner('a', { freeMemMib: 1023 })])).toBe('capacity')
    expect(refusal([runner('a', { freeSlots: 0 })])).toBe('capacity')
  })

  test('skips runners that are gone, draining or have refused', () => {
    expect(refusal([runner('a', { connected: false }), runner('b', { draining: true })])).toBe('no_runner')
    expect(refusal([runner('a')], { ...need, avoid: ['a'] })).toBe('no_runner')
    expect(refusal([])).toBe('no_runner')
  })
})

describe('why there is none', () => {
  const full = (id: string, more: Partial<Candidate> = {}) => runner(id, { freeSlots: 0, ...more })
  const asked = { ...need, avoid: ['a'] }

  test('is the bound of the policy where places alone are what lacks', () => {
    expect(() => choose([full('a', { mostSandboxes: 2 })], need)).toThrow('max_concurrent_sandboxes (2) reached')
    const two = [full('a', { mostSandboxes: 2 }), full('b', { mostSandboxes: 5 })]
    expect(() => choose(two, need)).toThrow('max_concurrent_sandboxes (7) reached')
    expect(() => choose([full('a', { mostSandboxes: 2 }), full('b')], need)).toThrow('and a place free')
    expect(() => choose([runner('a', { mostSandboxes: 2, freeVcpus: 1 })], need)).toThrow('and a place free')
  })

  test('is room where one that has the image is full, after another refused', () => {
    expect(refusal([runner('a', { images: new Set() }), full('b')], asked)).toBe('capacity')
    expect(refusal([runner('a'), full('b', { images: new Set() })], asked)).toBe('no_runner')
  })
})

describe('room on a certain runner', () => {
  const codeOf = (candidate: Candidate | undefined) => {
    try {
      return roomFor(candidate, need)
    } catch (error) {
      return (error as AppError).code
    }
  }

  test('is as many as its memory, its vCPUs and its places are enough for', () => {
    expect(codeOf(runner('a', { freeVcpus: 7 }))).toBe(3)
    expect(codeOf(runner('a', { freeMemMib: 3000 }))).toBe(2)
    expect(codeOf(runner('a', { freeSlots: 3 }))).toBe(3)
  })

  test('is none on a runner that is full, drains, is away or is not known', () => {
    expect(codeOf(runner('a', { freeMemMib: 1000 }))).toBe('capacity')
    expect(codeOf(runner('a', { freeSlots: -1 }))).toBe('capacity')
    expect(codeOf(runner('a', { draining: true }))).toBe('capacity')
    expect(codeOf(runner('a', { connected: false }))).toBe('runner_disconnected')
    expect(codeOf(undefined)).toBe('runner_disconnected')
  })
})
