import { AppError } from '@portico/shared/errors'
import { expect, test } from 'vitest'
import { assertScope } from './scopes.ts'

test.each([
  ['full', ['read', 'use', 'manage'], []],
  ['read-only', ['read'], ['use', 'manage']],
  ['exec-only', ['read', 'use'], ['manage']],
] as const)('a key of scope %s may %j and is refused %j by name', (scope, may, mayNot) => {
  for (const need of may) expect(() => assertScope(scope, need)).not.toThrow()
  for (const need of mayNot) {
    expect(() => assertScope(scope, need)).toThrow(AppError)
    expect(() => assertScope(scope, need)).toThrow(`its scope is ${scope}`)
  }
})
