import { expect, test } from 'vitest'
import { entriesOf } from './audit-lines.ts'

test('each line is an entry, blank ones are none', () => {
  expect(entriesOf('{"seq":0}\n\n{"seq":1}\n').map(({ seq }) => seq)).toEqual([0, 1])
  expect(entriesOf('')).toEqual([])
})
