/**
 * Takes all of a machine at one moment:
 *
 *   room for the pages, the next disk layer ─▶ pause ─▶ devices ─▶ changed pages ∥ freeze the disk ─▶ links
 *
 * The order matters: QEMU's devices may touch the guest's memory until they are saved. What it makes lies in a folder of its own, which the state owns.
 */

import { randomBytes } from 'node:crypto'
import { link, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { base32 } from '@portico/shared/ids'
import { orNoRoom } from '../../disk/full.ts'
import { CopyRoom, copyToFile, copyToMemory } from '../../memory/copy.ts'
import { GuestMemory } from '../../memory/guest-memory.ts'
import { noPages, type PageSet } from '../../memory/page-set.ts'
import type { CapturePaths, StatePaths, VmPaths } from '../../paths.ts'
import { partNames } from '../../snapshot/manifest.ts'
import type { CapturedDisk, CaptureOptions, DiskCaptureOptions } from '../driver.ts'
import type { CapturedState, MachineShape, StateVersions } from '../machine-state.ts'
import { saveDeviceState } from './device-state.ts'
import type { DiskChain } from './disk-chain.ts'
import type { Qmp } from './qmp.ts'

export interface CaptureSource {
  readonly pid: number
  readonly paths: VmPaths
  readonly allPaths: StatePaths
  readonly qmp: Qmp
  readonly chain: DiskChain
  readonly versions: StateVersions
  readonly shape: MachineShape
  /** Its memory is a file that only it uses: complete as it is. */
  readonly ownMemory: boolean
  readonly pause: () => Promise<void>
}

export async function capture(source: CaptureSource, options: CaptureOptions): Promise<CapturedState> {
  const { paths, chain, qmp, versions, shape } = source
  options.signal.throwIfAborted()
  const place = source.allPaths.capture(base32(randomBytes(10)))
  let copied: PageSet | undefined
  const release = async () => {
    copied?.release()
    await rm(place.folder, { recursive: true, force: true })
  }
  let room: CopyRoom | undefined
  try {
    await mkdir(place.folder, { recursive: true, mode: 0o700 })
    await chain.prepare()
    const memory = source.ownMemory ? undefined : await GuestMemory.open(source.pid, paths.base, 'read')
    try {
      room = memory && options.pages === 'memory' ? new CopyRoom(memory) : undefined
      const pausedAt = performance.now()
      await source.pause()
      const deviceBytes = await saveDeviceState(qmp, paths, place.device)
      const [pages] = await allOf([changedPages(memory, room, place, options), chain.freeze()])
      copied = pages
      await link(paths.base, place.base)
      const layers = await chain.linkTo((number) => place.layer(number))
      const base = { file: place.base, bytes: shape.memoryMib * 2 ** 20 }
      const device = { file: place.device, bytes: deviceBytes }
      return { versions, shape, base, device, pages, layers, pausedAt, release }
    } finally {
      room?.giveBack()
      memory?.close()
    }
  } catch (error) {
    const told = await orNoRoom(error, 'save the sandbox', source.allPaths.root)
    await release()
    throw told
  }
}

/** The disk alone, while the machine runs: the prepared layer is put on top while the guest holds its writers still, and what is below it is linked. */
export async function captureDisk(
  { allPaths, chain, shape }: Pick<CaptureSource, 'allPaths' | 'chain' | 'shape'>,
  { folder, still, signal }: DiskCaptureOptions,
): Promise<CapturedDisk> {
  signal.throwIfAborted()
  try {
    await chain.prepare()
    await still(() => chain.freeze())
    signal.throwIfAborted()
    const layers = await chain.linkTo((number) => join(folder, partNames.layer(number)))
    return { shape, layers, shared: chain.sharedDepth }
  } catch (error) {
    throw await orNoRoom(error, 'keep the disk', allPaths.root)
  }
}

/** All have settled when this does. */
async function allOf<First, Second>(work: readonly [Promise<First>, Promise<Second>]): Promise<[First, Second]> {
  await Promise.allSettled(work)
  return await Promise.all(work)
}

async function changedPages(
  memory: GuestMemory | undefined,
  room: CopyRoom | undefined,
  place: CapturePaths,
  { signal }: CaptureOptions,
): Promise<PageSet> {
  if (!memory) return noPages
  return room ? await copyToMemory(memory, room) : await copyToFile(memory, place.pages, signal)
}
