import { expect, test } from 'vitest'
import type { Env } from '../env.ts'
import { defaultLimits, noLimits } from './limits.ts'

const limits = (variables: Partial<Env>) => defaultLimits(variables as Env)

test('without variables an account has no limits', () => {
  expect(limits({})).toEqual(noLimits)
  expect(limits({ DEFAULT_LIMIT_SANDBOXES: '' })).toEqual(noLimits)
})

test('a variable sets its own limit and no other', () => {
  expect(limits({ DEFAULT_LIMIT_SANDBOXES: '0', DEFAULT_LIMIT_REQUESTS_PER_SECOND: '50' })).toEqual({
    ...noLimits,
    sandboxes: 0,
    requests_per_second: 50,
  })
})

test.each([
  ['DEFAULT_LIMIT_SANDBOXES', '-1'],
  ['DEFAULT_LIMIT_VCPUS', 'many'],
  ['DEFAULT_LIMIT_MEM_MIB', '1.5'],
  ['DEFAULT_LIMIT_SNAPSHOTS', '1e3'],
  ['DEFAULT_LIMIT_REQUESTS_PER_SECOND', '0'],
])('%s = %s opens no account, and the error names it', (name, value) => {
  expect(() => limits({ [name]: value })).toThrow(name)
})
