/** Creating a sandbox until its first command has answered: from a template, from the pool, and from the pool over the whole path. */

import { setTimeout as wait } from 'node:timers/promises'
import { type BareTemplate, makeBareTemplate } from './bare-template.ts'
import type { Measurement, Run } from './measurement.ts'
import { createAnswering, timed, withEngine } from './sandboxes.ts'
import { type Row, row } from './stats.ts'
import { withPlatform } from './whole-path.ts'

const poolSize = 2
/** Between two creates, so that the pool is whole again: a user's do not come without a break either. */
const refillMs = 1500

export const starts: Measurement = {
  rows: ['create.template', 'create.pool', 'create.edge'],
  async run(run) {
    const template = await makeBareTemplate()
    try {
      const rows: Row[] = []
      if (run.wanted('create.template')) rows.push(await fromTemplate(template, run))
      if (run.wanted('create.pool') || run.wanted('create.edge')) rows.push(...(await fromPool(template, run)))
      return rows
    } finally {
      await template.remove()
    }
  },
}

/** Ours and the floor's in turns, so that whatever else the host does meets both. */
async function fromTemplate(template: BareTemplate, { say, samples }: Run): Promise<Row> {
  const ours: number[] = []
  const floor: number[] = []
  await withEngine(async (engine) => {
    await engine.destroy(await createAnswering(engine), 1)
    for (let n = 0; n < samples; n++) {
      say(`create.template ${n + 1}/${samples}`)
      floor.push(await bareRestore(template))
      const start = performance.now()
      const id = await createAnswering(engine)
      ours.push(performance.now() - start)
      await engine.destroy(id, 1)
    }
  })
  return row('create.template', 'ms', ours, 'bare QEMU restore', floor)
}

async function fromPool(template: BareTemplate, run: Run): Promise<Row[]> {
  const { say, samples, wanted } = run
  say('create.pool: floor')
  const floor: number[] = []
  for (let n = 0; n < samples; n++) floor.push(await bareContinue(template))
  const name = 'bare QEMU: cont, exec'
  const rows: Row[] = []
  if (wanted('create.pool')) rows.push(row('create.pool', 'ms', await atTheRunner(run), name, floor))
  if (wanted('create.edge')) rows.push(row('create.edge', 'ms', await overTheEdge(run), name, floor))
  return rows
}

function atTheRunner({ say, samples }: Run): Promise<number[]> {
  return withEngine(async (engine) => {
    const found: number[] = []
    await engine.destroy(await createAnswering(engine), 1)
    for (let n = 0; n < samples; n++) {
      say(`create.pool ${n + 1}/${samples}`)
      await wait(refillMs)
      const start = performance.now()
      const id = await createAnswering(engine)
      found.push(performance.now() - start)
      await engine.destroy(id, 1)
    }
    return found
  }, poolSize)
}

function overTheEdge({ say, samples }: Run): Promise<number[]> {
  return withPlatform(async (portico) => {
    const found: number[] = []
    for (let n = -1; n < samples; n++) {
      say(`create.edge ${n + 1}/${samples}`)
      if (n >= 0) await wait(refillMs)
      const start = performance.now()
      await using sandbox = await portico.create({ image: 'python', timeoutSec: 0 })
      await sandbox.exec(['/bin/true'])
      if (n >= 0) found.push(performance.now() - start)
    }
    return found
  })
}

async function bareRestore(template: BareTemplate): Promise<number> {
  const vm = await template.restore()
  await vm.stop()
  return vm.firstExecMs
}

/** A restored machine that has run one command and stands still: what it takes to let it go on and run another. */
async function bareContinue(template: BareTemplate): Promise<number> {
  const vm = await template.restore()
  try {
    await vm.monitor.run('stop')
    return await timed(async () => {
      await vm.monitor.run('cont')
      await vm.exec()
    })
  } finally {
    await vm.stop()
  }
}
