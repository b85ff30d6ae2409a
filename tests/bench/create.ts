/** The first sandbox of its kind on a host, which boots and makes the template, next to QEMU booting the same kernel, agent and image with nothing around it. */

import { GuestChannel } from '@portico/runner/guest'
import { newSandboxId } from '@portico/shared/ids'
import { bootBareVm } from './bare-vm.ts'
import type { Measurement } from './measurement.ts'
import { spec, timed, withEngine } from './sandboxes.ts'
import { row } from './stats.ts'

const mostBoots = 10

export const create: Measurement = {
  rows: ['create.cold'],
  async run({ say, samples }) {
    const boots = Math.min(samples, mostBoots)
    const ours: number[] = []
    const floor: number[] = []
    for (let n = 0; n < boots; n++) {
      say(`create.cold ${n + 1}/${boots}`)
      floor.push(await bareBoot())
      ours.push(await withEngine((engine) => timed(() => engine.create(newSandboxId(), 1, spec))))
    }
    return [row('create.cold', 'ms', ours, 'bare QEMU boot', floor)]
  },
}

async function bareBoot(): Promise<number> {
  const vm = await bootBareVm()
  try {
    const channel = await GuestChannel.open(vm.agent, { signal: AbortSignal.timeout(30_000), again: false })
    const ms = performance.now() - vm.startedAt
    channel.close()
    return ms
  } finally {
    await vm.stop()
  }
}
