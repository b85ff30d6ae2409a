/** The state of processor and devices, without memory: written by the machine that stands still, read by one that has not run yet. */

import { constants } from 'node:fs'
import { open, rm, writeFile } from 'node:fs/promises'
import { AppError } from '@portico/shared/errors'
import { jailPaths, type VmPaths } from '../../paths.ts'
import type { Qmp } from './qmp.ts'

/** Some 60 KiB; a few times that with many processors. */
const maxBytes = 16 * 2 ** 20
const loadLimitMs = 10_000

/** Copies the state into `file`. QEMU can write only its own folder, so the runner fetches it from there without following a link. */
export async function saveDeviceState(qmp: Qmp, paths: VmPaths, file: string): Promise<number> {
  await rm(paths.device, { force: true })
  await qmp.execute('xen-save-devices-state', { filename: jailPaths.device, live: false })
  const handle = await open(paths.device, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const facts = await handle.stat()
    if (!facts.isFile() || facts.size === 0 || facts.size > maxBytes)
      throw new AppError('sandbox_failed', 'cannot save the virtual machine: its devices gave no state')
    const bytes = await handle.readFile()
    await writeFile(file, bytes, { mode: 0o600, flag: 'wx' })
    return bytes.length
  } finally {
    await handle.close()
    await rm(paths.device, { force: true })
  }
}

/** Tells of a migration's steps while a machine loads a state. */
export class StateLoad {
  readonly #done = Promise.withResolvers<void>()

  constructor() {
    this.#done.promise.catch(() => undefined)
  }

  onEvent(name: string, data: Readonly<Record<string, unknown>>): void {
    if (name !== 'MIGRATION') return
    if (data.status === 'completed') this.#done.resolve()
    if (data.status === 'failed')
      this.#done.reject(
        new AppError('snapshot_damaged', 'cannot restore: the virtual machine refused the state of its devices'),
      )
  }

  /** Loads what the jail has under the name of the incoming state; the machine's memory must be complete. */
  async run(qmp: Qmp, signal: AbortSignal): Promise<void> {
    await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] })
    await qmp.execute('migrate-incoming', { uri: `file:${jailPaths.incoming}` }, loadLimitMs)
    const late = Promise.withResolvers<never>()
    const onAbort = () => late.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([this.#done.promise, late.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}
