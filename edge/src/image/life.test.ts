import { FakeClock } from '@portico/shared/clock'
import { newAccountId } from '@portico/shared/ids'
import { expect, test } from 'vitest'
import type { NewImage, Objects } from '../ports.ts'
import { ImageLife } from './life.ts'
import type { ImageState } from './state.ts'

test('an image that was deleted is not begun again under its id', async () => {
  let stored: ImageState | undefined
  let makes = 0
  const account = { beginImage: async () => ({ ok: true }), tellImage: async () => ({ ok: true, value: true }) }
  const life = new ImageLife({
    store: {
      get: () => stored,
      put: (state) => {
        stored = state
      },
      setAlarm: () => undefined,
      clear: async () => {
        stored = undefined
      },
    },
    objects: { account: () => account } as unknown as Objects,
    clock: new FakeClock(),
    tell: () => undefined,
    background: () => undefined,
    make: async () => {
      makes++
      return { facts: {}, sizeBytes: 1, snapshot: null }
    },
  })
  const input = { image: 'img', account: newAccountId(), region: 'local', request: { reference: 'alpine:3.20' } }
  await life.begin(input as NewImage)
  await life.drop()
  await expect(life.begin(input as NewImage)).rejects.toMatchObject({ code: 'image_not_found' })
  expect(stored).toBeUndefined()
  expect(makes).toBe(1)
})
