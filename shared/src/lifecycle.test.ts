import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  after,
  holdsMachine,
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

/** The moves of the drawing, and staying. Every state may fail, be asked to end, end, or be lost. */
const ends = ['error', 'destroying', 'destroyed', 'lost'] as const
const drawn: Record<SandboxState, readonly SandboxState[]> = {
  creating: ['creating', 'running', ...ends],
  running: ['running', 'hibernating', ...ends],
  hibernating: ['hibernating', 'hibernated', 'running', ...ends],
  hibernated: ['hibernated', 'resuming', ...ends],
  resuming: ['resuming', 'running', 'hibernated', ...ends],
  error: ends,
  destroying: ['destroying', 'destroyed', 'lost'],
  destroyed: ['destroyed'],
  lost: ['lost'],
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
    if (askedToDestroy) expect(['destroying', 'destroyed', 'lost']).toContain(next)
    if (isRequest(step)) expect(take(next, step), `${step} again`).toBe(next)
    if ((step === 'use' || step === 'copy') && request(state, step).kind === 'accepted')
      expect([state, next]).toEqual(['running', 'running'])
    state = next
  }
  return state
}

describe('sequences that once went wrong, or might', () => {
  test.each(regressions)('$name', ({ steps }) => {
    const state = walk(steps)
    if (steps.includes('lost')) expect(state).toBe('lost')
    else if (steps.includes('ended')) expect(state).toBe('destroyed')
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
      if (verdict.kind === 'ignored') expect(['destroy', 'hibernate', 'resume']).toContain(asked)
    }
})

const whereAccepted = (asked: SandboxRequest) =>
  sandboxStates.filter((state) => request(state, asked).kind === 'accepted')
const whereIgnored = (asked: SandboxRequest) =>
  sandboxStates.filter((state) => request(state, asked).kind === 'ignored')

test('only a running sandbox can be used or copied', () => {
  expect(whereAccepted('use')).toEqual(['running'])
  expect(whereAccepted('copy')).toEqual(['running'])
  expect(request('running', 'copy')).toEqual({ kind: 'accepted', next: 'running' })
})

test('its timeout can be changed as long as there is a sandbox', () => {
  expect(whereAccepted('update')).toEqual(['creating', 'running', 'hibernating', 'hibernated', 'resuming'])
})

test('a running sandbox is hibernated, a hibernated one resumed, and who asks again is not refused', () => {
  expect([whereAccepted('hibernate'), whereIgnored('hibernate')]).toEqual([['running'], ['hibernating', 'hibernated']])
  expect([whereAccepted('resume'), whereIgnored('resume')]).toEqual([['hibernated'], ['running', 'resuming']])
})

test('what does not work out loses nothing: it runs on, or sleeps on', () => {
  expect([after('hibernating', 'kept'), after('resuming', 'kept')]).toEqual(['running', 'hibernated'])
  for (const state of sandboxStates.filter((one) => one !== 'hibernating' && one !== 'resuming'))
    expect(after(state, 'kept')).toBe(state)
})

test('nothing but a sandbox with a machine holds a place and is billed', () => {
  expect(sandboxStates.filter(holdsMachine)).toEqual(['creating', 'running', 'hibernating', 'resuming'])
})

test('what is destroyed or lost stays so, whatever comes', () => {
  expect(sandboxStates.filter(isFinal)).toEqual(['destroyed', 'lost'])
  for (const state of sandboxStates.filter(isFinal))
    for (const step of [...sandboxEvents, ...sandboxRequests]) expect(take(state, step)).toBe(state)
})

test('one that was lost with its runner can be asked to end, and for nothing else', () => {
  for (const asked of sandboxRequests)
    expect(request('lost', asked).kind).toBe(asked === 'destroy' ? 'ignored' : 'denied')
})
