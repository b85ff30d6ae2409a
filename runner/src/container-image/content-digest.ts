/** The digest of an image's file, by which guests keep it: they check what they are given. */

import { createHash } from 'node:crypto'
import { abortable } from '@portico/shared/dispose'
import type { VmImage } from '../vm/images.ts'

/** Of images whose own digest is another one, by that. There are never more than images that were brought into a guest. */
const known = new Map<string, Promise<string>>()

/** A preset's own digest is that of its file; the others' files are read once. `signal` ends the waiting. */
export async function contentDigest(image: VmImage, signal: AbortSignal): Promise<string> {
  if (image.ofLayers !== true) return image.digest
  let digest = known.get(image.digest)
  if (!digest) {
    digest = digestOf(image)
    known.set(image.digest, digest)
    digest.catch(() => known.delete(image.digest))
  }
  return await abortable(digest, signal)
}

async function digestOf(image: VmImage): Promise<string> {
  const hash = createHash('sha256')
  const { content } = await image.open()
  for await (const bytes of content) hash.update(bytes as Uint8Array)
  return `sha256:${hash.digest('hex')}`
}
