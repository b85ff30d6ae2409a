/** What an idle sandbox takes of the host's memory (PSS), alone and as one of ten, next to bare QEMU restored from a template of the same kind. */

import { setTimeout as wait } from 'node:timers/promises'
import { makeBareTemplate, type RestoredVm } from './bare-template.ts'
import type { Measurement } from './measurement.ts'
import { createAnswering, withEngine } from './sandboxes.ts'
import { type Row, row } from './stats.ts'

const together = 10
/** After its first command a guest tidies up for a moment. */
const settleMs = 2000

export const memory: Measurement = {
  rows: ['memory.idle', 'memory.idle.10'],
  async run({ say }) {
    say('memory.idle')
    const ours = await sandboxes()
    const floor = await bareMachines()
    const name = 'bare QEMU restored'
    const rows: Row[] = []
    rows.push(row('memory.idle', 'MiB', ours.alone, name, floor.alone))
    rows.push(row('memory.idle.10', 'MiB', ours.each, name, floor.each))
    return rows
  },
}

interface Found {
  readonly alone: number[]
  readonly each: number[]
}

function sandboxes(): Promise<Found> {
  return withEngine(async (engine) => {
    // The machine that is the template's own is gone once it is made.
    const ids = [await createAnswering(engine)]
    const measure = async () => {
      await wait(settleMs)
      const usages = await Promise.all(ids.map((id) => engine.stats(id, 1)))
      return usages.map((usage) => usage.mem_current_bytes / 2 ** 20)
    }
    const alone = await measure()
    while (ids.length < together) ids.push(await createAnswering(engine))
    return { alone, each: await measure() }
  })
}

async function bareMachines(): Promise<Found> {
  const template = await makeBareTemplate()
  const vms: RestoredVm[] = []
  const measure = async () => {
    await wait(settleMs)
    return await Promise.all(vms.map((vm) => vm.memory()))
  }
  try {
    vms.push(await template.restore())
    const alone = await measure()
    while (vms.length < together) vms.push(await template.restore())
    return { alone, each: await measure() }
  } finally {
    await Promise.all(vms.map((vm) => vm.stop()))
    await template.remove()
  }
}
