import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Capacity, type Reservation } from './capacity.ts'

it('refuses what does not fit and takes nothing for it', () => {
  const capacity = new Capacity({ slots: 2, vcpus: 8, memoryMib: 1000 })
  capacity.reserve({ memoryMib: 600, vcpus: 1 })
  expect(() => capacity.reserve({ memoryMib: 401, vcpus: 1 })).toThrow('it has too little free memory')
  expect(capacity.freeSlots).toBe(1)
  capacity.reserve({ memoryMib: 400, vcpus: 1 })
  expect(() => capacity.reserve({ memoryMib: 0, vcpus: 1 })).toThrow('it has no free slot')
  expect(capacity.freeMemoryMib).toBe(0)
})

it('tells the caller to try again', () => {
  expect(() => new Capacity({ slots: 0, vcpus: 8, memoryMib: 1 }).reserve({ memoryMib: 1, vcpus: 1 })).toThrow(
    expect.objectContaining({ code: 'capacity', retryable: true }),
  )
})

it('gives each holder a number of its own and gets everything back', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(300))), (steps) => {
      const capacity = new Capacity({ slots: 8, vcpus: 8, memoryMib: 1000 })
      const held: Reservation[] = []
      for (const [take, size] of steps) {
        if (!take) {
          const reservation = held.splice(size % Math.max(1, held.length), 1)[0]
          reservation?.release()
          reservation?.release()
          continue
        }
        try {
          held.push(capacity.reserve({ memoryMib: size, vcpus: 1 }))
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
  const capacity = new Capacity({ slots: 4, vcpus: 8, memoryMib: 1000, overheadMib: 100 })
  expect(() => capacity.reserve({ memoryMib: 901, vcpus: 1 })).toThrow('it has too little free memory')
  const place = capacity.reserve({ memoryMib: 400, vcpus: 1 })
  expect(capacity.freeMemoryMib).toBe(500)
  place.release()
  expect(capacity.freeMemoryMib).toBe(1000)
})

it('takes the place of a machine that runs already, whatever the limits are now, but no slot twice', () => {
  const capacity = new Capacity({ slots: 2, vcpus: 8, memoryMib: 1000 })
  const place = capacity.claim(7, { memoryMib: 2000, vcpus: 9 })
  expect([
    place?.slot,
    capacity.claim(7, { memoryMib: 1, vcpus: 1 }),
    capacity.freeSlots,
    capacity.freeMemoryMib,
  ]).toEqual([7, undefined, 1, 0])
  place?.release()
  expect([capacity.freeSlots, capacity.freeMemoryMib]).toEqual([2, 1000])
})

it('gives away as many vCPUs as it is told, whatever memory is left', () => {
  const capacity = new Capacity({ slots: 8, vcpus: 5, memoryMib: 1000 })
  const place = capacity.reserve({ memoryMib: 1, vcpus: 4 })
  expect([capacity.freeVcpus, capacity.fits({ memoryMib: 1, vcpus: 1 })]).toEqual([1, true])
  expect(capacity.fits({ memoryMib: 1, vcpus: 2 })).toBe(false)
  expect(() => capacity.reserve({ memoryMib: 1, vcpus: 2 })).toThrow('it has too few free vCPUs')
  place.release()
  expect([capacity.freeVcpus, capacity.freeSlots]).toEqual([5, 8])
})
