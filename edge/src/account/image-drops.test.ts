import { expect, test } from 'vitest'
import type { Objects } from '../ports.ts'
import { tellDrops } from './image-drops.ts'

test('an object that cannot be told stays to be told, and holds up no other', async () => {
  const left = new Set(['a', 'b'])
  const images = {
    drops: () => [...left].map((image) => ({ image, since: 0 })),
    dropped: (image: string) => void left.delete(image),
  }
  let fails = true
  const heard: string[] = []
  const image = (id: string) => ({
    drop: async (account: string) => {
      if (id === 'a' && fails) throw new Error('reset')
      heard.push(`${id} ${account}`)
    },
  })
  const objects = { image } as unknown as Pick<Objects, 'image'>
  await tellDrops(images, objects, 'acc')
  expect([...left]).toEqual(['a'])
  fails = false
  await tellDrops(images, objects, 'acc')
  expect([...left]).toEqual([])
  expect(heard).toEqual(['b acc', 'a acc'])
})
