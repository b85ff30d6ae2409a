import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Capacity, type Reservation } from './capacity.ts'

it('refuses what does not fit and takes nothing for it', () => {
  const capacity = new Capacity({ slots: 2, memoryMib: 1000 })
  capacity.reserve(600)
  expect(() => capacity.reserve(401)).toThrow('it has too little free memory')
  expect(capacity.freeSlots).toBe(1)
  capacity.reserve(400)
  expect(() => capacity.reserve(0)).toThrow('it has no free slot')
  expect(capacity.freeMemoryMib).toBe(0)
})

it('tells the caller to try again', () => {
  expect(() => new Capacity({ slots: 0, memoryMib: 1 }).reserve(1)).toThrow(
    expect.objectContaining({ code: 'capacity', retryable: true }),
  )
})

it('gives each holder a number of its own and gets everything back', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(300))), (steps) => {
      const capacity = new Capacity({ slots: 8, memoryMib: 1000 })
      const held: Reservation[] = []
      for (const [take, size] of steps) {
        if (!take) {
          const reservation = held.splice(size % Math.max(1, held.length), 1)[0]
          reservation?.release()
          reservation?.release()
          continue
        }
        try {
          held.push(capacity.reserve(size))
        } catch (error) {
          expect(error).toMatchObject({ code: 'capacity' })
        }
        expect(new Set(held.map(({ slot }) => slot)).size).toBe(held.length)
        expect(capacity.freeMemoryMib).toBeGreaterThanOrEqual(0)
      }
      for (const reservation of held) reservation.release()
      expect([capacity.freeSlots, capacity.freeMemoryMib]).toEqual([8, 1000])
    }),
  )
})

it('counts what a machine takes beyond its guest', () => {
  const capacity = new Capacity({ slots: 4, memoryMib: 1000, overheadMib: 100 })
  expect(() => capacity.reserve(901)).toThrow('it has too little free memory')
  const place = capacity.reserve(400)
  expect(capacity.freeMemoryMib).toBe(500)
  place.release()
  expect(capacity.freeMemoryMib).toBe(1000)
})

it('takes the place of a machine that runs already, whatever the limits are now, but no slot twice', () => {
  const capacity = new Capacity({ slots: 2, memoryMib: 1000 })
  const place = capacity.claim(7, 2000)
  expect([place?.slot, capacity.claim(7, 1), capacity.freeSlots, capacity.freeMemoryMib]).toEqual([7, undefined, 1, 0])
  place?.release()
  expect([capacity.freeSlots, capacity.freeMemoryMib]).toEqual([2, 1000])
})
