/** What a template is of. Machines whose templates have the same key start from the same one. */

import { createHash } from 'node:crypto'
import { AppError } from '@portico/shared/errors'
import { formatNumber } from '../snapshot/manifest.ts'
import type { VmDriver } from '../vm/driver.ts'

/** The machine that somebody wants. */
export interface MachineNeeds {
  /** One of the driver's images. */
  readonly image: string
  readonly vcpus: number
  readonly memoryMib: number
  readonly diskMib: number
  /** It waits before it looks at its disks: it is for any image and disk. */
  readonly waits?: true
}

const smallestDiskMib = 64
const diskFactor = 4

/**
 * The disk of the template for a disk of this size: the largest of 64, 256, 1024 … MiB that is not larger. The guest grows its file system from there,
 * so every size need not have a template.
 */
export function diskClass(diskMib: number): number {
  let size = Math.min(smallestDiskMib, diskMib)
  while (size * diskFactor <= diskMib && size >= smallestDiskMib) size *= diskFactor
  return size
}

/** Differs when anything does that a machine keeps from its boot. Fit for a file name. */
export function templateKey({ images, guest, versions }: VmDriver, needs: MachineNeeds): string {
  const image = images.get(needs.image)
  if (!image) throw new AppError('image_unknown', `cannot create the sandbox: there is no image ${needs.image}`)
  const facts = [
    formatNumber,
    needs.waits ? 'waits' : image.digest,
    [needs.vcpus, needs.memoryMib, needs.waits ? 0 : diskClass(needs.diskMib)],
    [guest.kernel, guest.agent],
    [versions.accelerator, versions.qemu, versions.cpu],
  ]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 40)
}
