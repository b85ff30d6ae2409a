/**
 * Scratch disks. For each size there is one empty ext4 file system and one overlay on it without content, both made once, read-only and shared; a
 * machine's own disk is a copy of that overlay, some hundred KiB, which takes less than a millisecond.
 *
 * It owns the `disks` folder. A file there is complete or not there at all: it is made under another name and renamed.
 */

import { chmod, chown, constants, copyFile, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { toolArguments } from '../jail.ts'
import type { StatePaths } from '../paths.ts'
import { runChecked } from '../process/run.ts'

const makeLimitMs = 60_000
const temporarySuffix = '.making'
/** Callers choose sizes freely, and each costs some MiB: those not asked for lately are made again when somebody does. */
const maxSizes = 64

export class ScratchDisks {
  readonly #paths: StatePaths
  readonly #vmmRoot: string
  /** By size: whoever asks while a disk is being made waits for the same one. */
  readonly #making = new Map<number, Promise<void>>()
  #lastTemporary = 0

  constructor(paths: StatePaths, vmmRoot: string) {
    this.#paths = paths
    this.#vmmRoot = vmmRoot
  }

  /** Makes the folder and removes what a crash left half made. */
  async open(): Promise<void> {
    await mkdir(this.#paths.disks, { recursive: true, mode: 0o755 })
    for (const name of await readdir(this.#paths.disks))
      if (name.endsWith(temporarySuffix)) await rm(join(this.#paths.disks, name), { force: true })
  }

  /** The empty file system of a size: the backing file of every machine's disk of that size. */
  async base(sizeMib: number): Promise<string> {
    await this.#ensure(sizeMib)
    return this.#paths.disk(sizeMib).raw
  }

  /** Makes a machine's own disk at `file`. Its folder's owner removes it. */
  async create(sizeMib: number, file: string, owner: number | undefined): Promise<void> {
    await this.#ensure(sizeMib)
    await copyFile(this.#paths.disk(sizeMib).overlay, file, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    await chmod(file, 0o600)
    if (owner !== undefined) await chown(file, owner, owner)
  }

  #ensure(sizeMib: number): Promise<void> {
    const making = this.#making.get(sizeMib) ?? this.#make(sizeMib)
    // Last in the map is the one used last.
    this.#making.delete(sizeMib)
    this.#making.set(sizeMib, making)
    making.catch(() => this.#making.delete(sizeMib))
    const [oldest] = this.#making.keys()
    if (this.#making.size > maxSizes && oldest !== undefined) void this.#forget(oldest)
    return making
  }

  /** Machines that run keep the files that they have open. */
  async #forget(sizeMib: number): Promise<void> {
    await this.#making.get(sizeMib)?.catch(() => undefined)
    this.#making.delete(sizeMib)
    const { raw, overlay } = this.#paths.disk(sizeMib)
    await rm(overlay, { force: true }).catch(() => undefined)
    await rm(raw, { force: true }).catch(() => undefined)
  }

  async #make(sizeMib: number): Promise<void> {
    const { raw, overlay } = this.#paths.disk(sizeMib)
    if (!(await exists(raw))) await this.#whole(raw, (file) => makeFileSystem(file, sizeMib))
    if (!(await exists(overlay))) await this.#whole(overlay, (file) => this.#makeOverlay(file, sizeMib))
  }

  async #makeOverlay(file: string, sizeMib: number): Promise<void> {
    // What is below it is told to QEMU at each start.
    const options = ['-o', 'lazy_refcounts=on']
    const command = ['/usr/bin/qemu-img', 'create', '-q', '-f', 'qcow2', ...options, basename(file), `${sizeMib}M`]
    await runChecked('bwrap', toolArguments(this.#vmmRoot, dirname(file), command), { limitMs: makeLimitMs })
  }

  async #whole(file: string, make: (temporary: string) => Promise<void>): Promise<void> {
    const temporary = `${file}.${process.pid}-${++this.#lastTemporary}${temporarySuffix}`
    try {
      await make(temporary)
      await chmod(temporary, 0o444)
      await rename(temporary, file)
    } catch (cause) {
      await rm(temporary, { force: true })
      throw new AppError('internal', 'cannot make an empty disk on this runner', { cause })
    }
  }
}

/** Bytes that a file takes on its disk; undefined if it is gone. A link counts as itself. */
export async function allocatedBytes(file: string): Promise<number | undefined> {
  try {
    return (await lstat(file)).blocks * 512
  } catch {
    return undefined
  }
}

/**
 * A sparse file with an ext4 in it. No journal: a scratch disk is mounted again only as it was when it was frozen, whole. On a fresh sparse file mkfs knows that
 * the inode tables are zero, so the guest's kernel does not write them later.
 */
async function makeFileSystem(file: string, sizeMib: number): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.truncate(sizeMib * 2 ** 20)
  } finally {
    await handle.close()
  }
  const features = ['-O', '^has_journal', '-m', '0', '-E', 'root_owner=0:0,discard']
  await runChecked('mkfs.ext4', ['-q', '-F', ...features, file], { limitMs: makeLimitMs })
}

async function exists(file: string): Promise<boolean> {
  return await lstat(file).then(
    () => true,
    () => false,
  )
}
