/** Cold boots, which only templates need, and which once hung in one of four on a busy host. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, it } from 'vitest'
import { engineConfig, parseConfig } from '../../config.ts'
import { askHealth } from '../../guest/agent.ts'
import { GuestChannel } from '../../guest/channel.ts'
import { silentLog } from '../../log.ts'
import { assetsFile, testFolder } from '../../testing/host.ts'
import { openQemu } from './open.ts'

it('boots 30, two at a time, with both cores busy besides, none hanging', { timeout: 600_000 }, async () => {
  const folder = await testFolder()
  const { driver, close } = await openQemu(
    parseConfig(engineConfig, { stateDir: folder.stateDir, assets: assetsFile }),
    silentLog(),
  )
  const burners = [1, 2].map(() => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }))
  const boot = async (slot: number, turn: number) => {
    const signal = AbortSignal.timeout(45_000)
    const spec = { id: `boot-${slot}-${turn}`, slot, image: 'python', vcpus: 1, memoryMib: 256, diskMib: 128 }
    const vm = await driver.boot(spec, signal)
    try {
      const channel = await GuestChannel.open(await vm.connect(signal), { signal, again: false })
      expect((await askHealth(channel, signal)).boot_ms).toBeGreaterThan(0)
      channel.close()
    } finally {
      await vm.stop()
    }
  }
  const lane = async (slot: number) => {
    for (let turn = 0; turn < 15; turn++) await boot(slot, turn)
  }
  try {
    await Promise.all([lane(0), lane(1)])
    expect(await folder.leftovers()).toEqual([])
  } finally {
    await Promise.all(burners.map(ended))
    await close()
    await folder.remove()
  }
})

async function ended(burner: ChildProcess): Promise<void> {
  burner.kill('SIGKILL')
  await once(burner, 'exit')
}
