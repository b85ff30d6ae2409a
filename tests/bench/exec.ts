/** One command in a running sandbox: at the runner, and over the whole path, next to the same fork and exec with nothing around it. */

import { newSandboxId } from '@portico/shared/ids'
import { channelFloor } from './channel-floor.ts'
import { execute } from './guest-calls.ts'
import type { Measurement } from './measurement.ts'
import { spec, withEngine } from './sandboxes.ts'
import { row } from './stats.ts'
import { withSandbox } from './whole-path.ts'

const samples = 100
const warmUp = 20

export const exec: Measurement = {
  rows: ['exec.runner', 'exec.edge'],
  async run({ say }) {
    say('exec: floor')
    const floor = await channelFloor.forkExec(10)
    say('exec.runner')
    const runner = await withEngine(async (engine) => {
      const id = newSandboxId()
      await engine.create(id, 1, spec)
      return await timed(() => execute((asked) => engine.request(id, 1, asked), { argv: ['/bin/true'] }))
    })
    say('exec.edge')
    const edge = await withSandbox((sandbox) => timed(() => sandbox.exec(['/bin/true'])))
    const name = 'fork+exec in the guest'
    return [row('exec.runner', 'ms', runner, name, floor), row('exec.edge', 'ms', edge, name, floor)]
  },
}

async function timed(run: () => Promise<unknown>): Promise<number[]> {
  for (let n = 0; n < warmUp; n++) await run()
  const found: number[] = []
  for (let n = 0; n < samples; n++) {
    const start = performance.now()
    await run()
    found.push(performance.now() - start)
  }
  return found
}
