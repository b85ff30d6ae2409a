/** Images that an account has forgotten: their objects are told until they have heard it, as they hold state and events. */

import { logFailure } from '../log.ts'
import { fromPlatform } from '../platform-errors.ts'
import type { Objects } from '../ports.ts'
import type { ImageTable } from '../store/images.ts'

/** When those that could not be told are told again. */
export const dropAgainMs = 30_000
/** Told at once; the next turn goes on. */
const mostAtOnce = 20

/** Tells them. One that cannot be told stays to be told again. */
export async function tellDrops(
  images: Pick<ImageTable, 'drops' | 'dropped'>,
  objects: Pick<Objects, 'image'>,
  account: string,
): Promise<void> {
  const told = images.drops().slice(0, mostAtOnce)
  await Promise.all(
    told.map(async ({ image }) => {
      try {
        await objects.image(image).drop(account)
        images.dropped(image)
      } catch (thrown) {
        logFailure('forget the image', fromPlatform(thrown, 'forget the image'))
      }
    }),
  )
}
