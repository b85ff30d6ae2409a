/**
 * What an earlier process of the runner left, however that ended: machines that a record names are taken over as they run, every other machine is ended;
 * hibernated sandboxes are listed again; saved states that nobody names are removed. It runs before anything is started, under the lock.
 */

import { rm } from 'node:fs/promises'
import { deadline } from '@portico/shared/dispose'
import type { Capacity } from '../capacity.ts'
import { sweepCheckpoints } from '../checkpoint/files.ts'
import type { Logger } from '../log.ts'
import type { StatePaths } from '../paths.ts'
import type { Origin } from '../sandbox/birth.ts'
import { clearSaved, readRecords, type SandboxRecord } from '../sandbox/record.ts'
import { sweepSaved } from '../snapshot/folders.ts'
import type { VmDriver } from '../vm/driver.ts'

export interface RestartOptions {
  readonly driver: VmDriver
  readonly paths: StatePaths
  readonly capacity: Capacity
  readonly log: Logger
  /** Takes a sandbox over; resolves when it is settled what it is. */
  readonly adopt: (record: SandboxRecord, origin?: Origin) => Promise<void>
}

const adoptLimitMs = 15_000

/** Never rejects for the sake of one sandbox or machine: what cannot be cleared is told and left. */
export async function restart(options: RestartOptions): Promise<void> {
  const { driver, paths, log, adopt } = options
  const found = new Set(await driver.found())
  const records: SandboxRecord[] = []
  for (const one of await readRecords(paths.sandboxes, (id) => paths.sandbox(id))) {
    if ('record' in one) records.push(one.record)
    else log.error({ sandbox: one.id, error: one.problem }, 'runner.record')
  }
  await rm(paths.captures, { recursive: true, force: true })
  await sweepSaved(paths.snapshots)
  const named = new Set(records.map((record) => (record.state === 'running' ? record.machine.id : undefined)))
  const strays = [...found].filter((id) => !named.has(id))
  const stopped = strays.map((id) => stop(driver, id).catch((error: unknown) => log.error({ error }, 'runner.reclaim')))
  const settled = records.map(async (record) => {
    const saved = record.state === 'running' ? undefined : record.saved
    await clearSaved(paths.sandbox(record.sandbox), saved)
    await sweepCheckpoints(paths.sandbox(record.sandbox))
    await adopt(...(await broughtBack(record, options)))
  })
  await Promise.all([...stopped, ...settled])
  if (found.size + records.length > 0)
    log.warn({ machines: found.size, stopped: strays.length, sandboxes: records.length }, 'runner.restart')
}

/** The record, and its machine if that is still there; without it, the record says so. */
async function broughtBack(
  record: SandboxRecord,
  { driver, capacity, log }: RestartOptions,
): Promise<[SandboxRecord, Origin?]> {
  if (record.state !== 'running') return [record]
  const { id, slot } = record.machine
  const vm = await adopted(driver, id).catch((error: unknown) => {
    log.error({ sandbox: record.sandbox, error }, 'runner.adopt')
    return undefined
  })
  const place = vm && capacity.claim(slot, { memoryMib: record.spec.mem_mib, vcpus: record.spec.vcpus })
  if (vm && place) return [record, { kind: 'found', vm, place }]
  await vm?.stop()
  const { machine: _machine, since: _since, ...rest } = record
  return [{ ...rest, state: 'error', reason: 'its virtual machine was gone when its runner was started again' }]
}

async function adopted(driver: VmDriver, id: string) {
  using signal = deadline(adoptLimitMs, 'take the virtual machine over')
  return await driver.adopt(id, signal)
}

/** A machine that can be taken over can be stopped; one that cannot is free already. */
async function stop(driver: VmDriver, id: string): Promise<void> {
  const vm = await adopted(driver, id)
  await vm?.stop()
}
