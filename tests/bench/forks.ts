/** Forking a running sandbox: how long it stands still with so much memory of its own, and how long ten children take. */

import { availableParallelism } from 'node:os'
import type { Engine } from '@portico/runner/engine'
import { newSandboxId } from '@portico/shared/ids'
import { type BareTemplate, makeBareTemplate, type RestoredVm } from './bare-template.ts'
import type { Measurement, Run } from './measurement.ts'
import { dirty, firstExec, withEngine, withOne } from './sandboxes.ts'
import { type Row, row } from './stats.ts'

const sizes = [8, 64, 256]
const children = 10

const pauseRow = (mib: number) => `fork.pause.${mib}MiB`

export const forks: Measurement = {
  rows: [...sizes.map(pauseRow), 'fork.10'],
  run: (run) =>
    withEngine(async (engine) => {
      const rows: Row[] = []
      for (const mib of sizes) if (run.wanted(pauseRow(mib))) rows.push(await pause(engine, mib, run))
      if (run.wanted('fork.10')) rows.push(await ten(engine, run))
      return rows
    }),
}

async function pause(engine: Engine, mib: number, { say, samples }: Run): Promise<Row> {
  const found: number[] = []
  await withOne(engine, async (id) => {
    await dirty(engine, id, mib)
    for (let n = 0; n < samples; n++) {
      say(`${pauseRow(mib)} ${n + 1}/${samples}`)
      const { pauseMs, ids } = await fork(engine, id, 1)
      found.push(pauseMs)
      await destroyAll(engine, ids)
    }
  })
  return row(pauseRow(mib), 'ms', found, `${mib} MiB copied in memory`, copies(mib, samples))
}

async function ten(engine: Engine, { say, samples }: Run): Promise<Row> {
  const ours: number[] = []
  const floor: number[] = []
  const template = await makeBareTemplate()
  try {
    await withOne(engine, async (id) => {
      for (let n = 0; n < samples; n++) {
        say(`fork.10 ${n + 1}/${samples}`)
        floor.push(await bareTen(template))
        const start = performance.now()
        const { ids } = await fork(engine, id, children)
        await Promise.all(ids.map((child) => firstExec(engine, child)))
        ours.push(performance.now() - start)
        await destroyAll(engine, ids)
      }
    })
  } finally {
    await template.remove()
  }
  return row('fork.10', 'ms', ours, `${children} bare QEMU restores`, floor)
}

/** Throws when a child did not come to be, having destroyed the others. */
async function fork(engine: Engine, id: string, count: number): Promise<{ pauseMs: number; ids: string[] }> {
  const asked = Array.from({ length: count }, () => ({ sandbox: newSandboxId() as string, generation: 1 }))
  const forked = await engine.fork(id, 1, asked)
  const ids = forked.children.filter(({ error }) => error === undefined).map(({ sandbox }) => sandbox)
  const failed = forked.children.find(({ error }) => error !== undefined)?.error
  if (failed === undefined) return { pauseMs: forked.pauseMs, ids }
  await destroyAll(engine, ids)
  throw new Error(`cannot measure: a child of the fork failed: ${failed.message}`)
}

async function destroyAll(engine: Engine, ids: readonly string[]): Promise<void> {
  await Promise.all(ids.map((id) => engine.destroy(id, 1)))
}

/** As many at once as there are processors, as the engine does. */
async function bareTen(template: BareTemplate): Promise<number> {
  const vms: RestoredVm[] = []
  try {
    const start = performance.now()
    const worker = async (own: number) => {
      for (let n = 0; n < own; n++) vms.push(await template.restore())
    }
    const workers = Math.min(children, availableParallelism())
    const share = (index: number) => Math.floor(children / workers) + (index < children % workers ? 1 : 0)
    await Promise.all(Array.from({ length: workers }, (_, index) => worker(share(index))))
    return performance.now() - start
  } finally {
    await Promise.all(vms.map((vm) => vm.stop()))
  }
}

/** Milliseconds of copying so much to memory that nobody has used yet. */
function copies(mib: number, samples: number): number[] {
  const source = Buffer.alloc(mib << 20, 1)
  return Array.from({ length: samples }, () => {
    const start = performance.now()
    source.copy(Buffer.allocUnsafeSlow(source.length))
    return performance.now() - start
  })
}
