import { sandboxStates } from '@portico/shared/lifecycle'
import { expect, test } from 'vitest'
import { stateAfterNews } from './told.ts'

test.each([
  ['running', 'hibernated', 'hibernated'],
  ['running', 'hibernating', 'hibernating'],
  ['hibernating', 'hibernated', 'hibernated'],
  ['hibernating', 'running', 'running'],
  ['hibernated', 'resuming', 'resuming'],
  ['hibernated', 'running', 'running'],
  ['resuming', 'running', 'running'],
  ['resuming', 'hibernated', 'hibernated'],
] as const)('%s, told %s, is %s', (state, told, then) => {
  expect(stateAfterNews(state, told)).toBe(then)
})

test('news of sleep and of waking takes nobody out of its error or its end', () => {
  for (const state of ['error', 'destroying', 'destroyed'] as const)
    for (const told of sandboxStates) expect(stateAfterNews(state, told), `${state}, told ${told}`).toBe(state)
})

test('the same news twice is news once', () => {
  for (const state of sandboxStates)
    for (const told of sandboxStates) {
      const once = stateAfterNews(state, told)
      expect(stateAfterNews(once, told)).toBe(once)
    }
})
