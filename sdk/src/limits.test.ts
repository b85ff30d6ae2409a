import { expect, it } from 'vitest'
import { createMs } from './limits.ts'

it('a create is waited for longer than the platform itself waits for it', () => {
  expect(createMs).toBeGreaterThan(330_000)
})
