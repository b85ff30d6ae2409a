import { expect, test } from 'vitest'
import { broken, type Plan, simulateRegion } from './simulation.ts'

const plan: Plan = {
  regions: 2,
  hosts: 20,
  sandboxes: 12_000,
  occupied: 4000,
  fillRate: 600,
  steadyRate: 40,
  steadySeconds: 40,
  lostHosts: 2,
  seed: 7,
}

test.each([0, 1])(
  'region %i is filled, used and loses hosts without a sandbox where there is no room',
  async (index) => {
    const result = await simulateRegion(plan, index)
    expect(broken(plan, result)).toEqual([])
    expect(result.lost).toBeGreaterThan(0)
    expect(result.placedAgain).toBeGreaterThan(0)
  },
)

test('the same seed gives the same region', async () => {
  const small = { ...plan, hosts: 5, sandboxes: 1000, occupied: 0, lostHosts: 1 }
  const [one, other] = [await simulateRegion(small, 0), await simulateRegion(small, 0)]
  const untimed = ({ placeMicroseconds: _, reportMicroseconds: __, ...rest }: typeof one) => rest
  expect(untimed(one)).toEqual(untimed(other))
})
