/** An image's content from its file. */

import { open } from 'node:fs/promises'
import { AppError } from '@portico/shared/errors'
import type { ImageContent } from './driver.ts'

/** Opens the file; whoever has the content destroys it if it is not read to its end. */
export async function openImageFile(path: string): Promise<ImageContent> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw new AppError('internal', 'cannot read the image: run the set-up again', { cause })
  })
  try {
    const { size } = await handle.stat()
    return { size, content: handle.createReadStream({ highWaterMark: 256 * 1024 }) }
  } catch (error) {
    await handle.close()
    throw error
  }
}
