import { expect, test } from 'vitest'
import { ByteBudget } from './byte-budget.ts'

test('what does not fit waits for its turn, and a failure gives its bytes back', async () => {
  const budget = new ByteBudget()
  const first = Promise.withResolvers<string>()
  const begun: string[] = []
  const one = budget.during(16_777_216, () => first.promise)
  const two = budget.during(16_777_216, async () => void begun.push('two'))
  const three = budget.during(1, async () => void begun.push('three'))
  for (let turn = 0; turn < 10; turn++) await Promise.resolve()
  expect(begun).toEqual([])
  first.reject(new Error('it broke'))
  await expect(one).rejects.toThrow('it broke')
  await Promise.all([two, three])
  expect(begun).toEqual(['two', 'three'])
})
