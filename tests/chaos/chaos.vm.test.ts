/** The short form of `npm run chaos`. */

import { expect, it } from 'vitest'
import { chaos } from './chaos.ts'
import { faults } from './faults.ts'

const seed = 4
/** One runner of each region: every runner boots its first sandbox, and two do that at once. */
const fleet = [
  { region: 'us', slots: 5 },
  { region: 'eu', slots: 4 },
] as const
/** About as long as the first round takes, in which each kind of fault comes once. */
const seconds = 24

it('loses, doubles and leaves nothing while everything goes wrong once', { timeout: 400_000 }, async () => {
  const { journal, log } = await chaos({ seed, seconds, lanes: 4, fleet })
  const told = `seed ${seed}\n${journal.summary()}\n\n${journal.tail(80)}\n\n${log.slice(-20_000)}`
  expect(journal.findings, told).toEqual([])
  expect([...journal.faults].sort(), told).toEqual([...faults].sort())
  expect(journal.done, told).toBeGreaterThan(20)
})
