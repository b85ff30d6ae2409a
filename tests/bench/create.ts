/** Creating a sandbox by booting it, next to QEMU booting the same kernel, agent and image with nothing around it. */

import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { type Engine, openEngine } from '@portico/runner/engine'
import { GuestChannel } from '@portico/runner/guest'
import { newSandboxId } from '@portico/shared/ids'
import { bootBareVm } from './bare-vm.ts'
import type { Measurement } from './main.ts'
import { row } from './stats.ts'

const boots = 10

/** What every sandbox of the benchmark is. */
export const spec = { image: 'python', vcpus: 1, mem_mib: 1024, disk_mib: 512, idle_timeout: 0, env: {} }

/** An engine of its own, without a tunnel, gone afterwards. */
export async function withEngine<Value>(run: (engine: Engine) => Promise<Value>): Promise<Value> {
  const stateDir = await mkdtemp(join(paths.temporary, 'bench-'))
  try {
    const engine = await openEngine({ stateDir, assets: paths.assets, logLevel: 'error' })
    try {
      return await run(engine)
    } finally {
      await engine.close()
    }
  } finally {
    await rm(stateDir, { recursive: true, force: true })
  }
}

export const create: Measurement = {
  rows: ['create.cold'],
  run: (say) =>
    withEngine(async (engine) => {
      const ours: number[] = []
      const floor: number[] = []
      for (let n = 0; n < boots; n++) {
        say(`create.cold ${n + 1}/${boots}`)
        floor.push(await bareBoot())
        ours.push(await createOne(engine))
      }
      return [row('create.cold', 'ms', ours, 'bare QEMU boot', floor)]
    }),
}

async function createOne(engine: Engine): Promise<number> {
  const id = newSandboxId()
  const start = performance.now()
  await engine.create(id, 1, spec)
  const ms = performance.now() - start
  await engine.destroy(id, 1)
  return ms
}

async function bareBoot(): Promise<number> {
  const vm = await bootBareVm()
  const channel = await GuestChannel.open(vm.agent, { signal: AbortSignal.timeout(30_000), again: false })
  const ms = performance.now() - vm.startedAt
  channel.close()
  await vm.stop()
  return ms
}
