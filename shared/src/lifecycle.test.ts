import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  after,
  isFinal,
  request,
  type SandboxEvent,
  type SandboxRequest,
  type SandboxState,
  sandboxEvents,
  sandboxRequests,
  sandboxStates,
} from './lifecycle.ts'

type Step = SandboxEvent | SandboxRequest

interface Regression {
  readonly name: string
  readonly steps: readonly Step[]
}

const regressions = JSON.parse(
  readFileSync(new URL('./lifecycle.regressions.json', import.meta.url), 'utf8'),
) as readonly Regression[]

/** The moves of the drawing, and staying. */
const drawn: Record<SandboxState, readonly SandboxState[]> = {
  creating: ['creating', 'running', 'error', 'destroying', 'destroyed'],
  running: ['running', 'error', 'destroying', 'destroyed'],
  error: ['error', 'destroying', 'destroyed'],
  destroying: ['destroying', 'destroyed'],
  destroyed: ['destroyed'],
}

const isRequest = (step: Step): step is SandboxRequest => (sandboxRequests as readonly string[]).includes(step)

function take(state: SandboxState, step: Step): SandboxState {
  if (!isRequest(step)) return after(state, step)
  const verdict = request(state, step)
  return verdict.kind === 'accepted' ? verdict.next : state
}

/** Walks the steps and checks on the way what must always hold. */
function walk(steps: readonly Step[]): SandboxState {
  let state: SandboxState = 'creating'
  let askedToDestroy = false
  for (const step of steps) {
    const next = take(state, step)
    expect(drawn[state], `${state} after ${step}`).toContain(next)
    askedToDestroy ||= step === 'destroy'
    if (askedToDestroy) expect(['destroying', 'destroyed']).toContain(next)
    if (isRequest(step)) expect(take(next, step), `${step} again`).toBe(next)
    if (step === 'use' && request(state, step).kind === 'accepted') expect(state).toBe('running')
    state = next
  }
  return state
}

describe('sequences that once went wrong, or might', () => {
  test.each(regressions)('$name', ({ steps }) => {
    const state = walk(steps)
    if (steps.includes('ended')) expect(state).toBe('destroyed')
  })
})

test('any sequence of events and requests keeps to the drawing', () => {
  const step = fc.constantFrom<Step>(...sandboxEvents, ...sandboxRequests)
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      walk(steps)
    }),
    { numRuns: 2000 },
  )
})

test('every state answers every request, and destroy is never denied', () => {
  for (const state of sandboxStates)
    for (const asked of sandboxRequests) {
      const verdict = request(state, asked)
      if (verdict.kind === 'denied') expect(verdict.reason).toMatch(/^its? [^\n]+$/)
      if (asked === 'destroy') expect(verdict.kind).not.toBe('denied')
      if (verdict.kind === 'ignored') expect(asked).toBe('destroy')
    }
})

test('only a running sandbox can be used', () => {
  expect(sandboxStates.filter((state) => request(state, 'use').kind === 'accepted')).toEqual(['running'])
})

test('its timeout can be changed while it is created and while it runs', () => {
  expect(sandboxStates.filter((state) => request(state, 'update').kind === 'accepted')).toEqual(['creating', 'running'])
})

test('only the last state is final, and nothing leaves it', () => {
  expect(sandboxStates.filter(isFinal)).toEqual(['destroyed'])
  for (const step of [...sandboxEvents, ...sandboxRequests]) expect(take('destroyed', step)).toBe('destroyed')
})
