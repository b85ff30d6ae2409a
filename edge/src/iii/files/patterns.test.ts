import { expect, test } from 'vitest'
import { expansionOf, loadPatterns } from './patterns.ts'

test('a group that no pattern has is nothing, whatever an object calls its own', async () => {
  const pattern = (await loadPatterns()).compile('a(?P<x>b)', true)
  expect(pattern.replace('ab', expansionOf('<$' + '{constructor}$x>'), false)?.text).toBe('<b>')
})
