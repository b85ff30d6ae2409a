/** Cold boots, which only templates need, and which once hung in one of four on a busy host. */

import { availableParallelism, loadavg } from 'node:os'
import { expect, it } from 'vitest'
import { engineConfig, parseConfig } from '../../config.ts'
import { askHealth } from '../../guest/agent.ts'
import { GuestChannel } from '../../guest/channel.ts'
import { silentLog } from '../../log.ts'
import { statePaths } from '../../paths.ts'
import { assetsFile, testFolder } from '../../testing/host.ts'
import { OwnTime } from '../../testing/own-time.ts'
import type { Vm } from '../driver.ts'
import { readState } from '../state-file.ts'
import type { QemuMachine } from './machine.ts'
import { openQemu } from './open.ts'

/** Two for each core: each has others beside it that would take the whole of both, as each is a processor that is never idle. */
const atOnce = 2 * availableParallelism()
const boots = 30
/** Of its own time (`OwnTime`): some four times what a boot takes. A boot that waits for a tick has it in as many seconds on an idle host. */
const limitMs = 30_000
/** Where others take nearly all: then it says nothing of the guest. */
const longestMs = 300_000

it(`boots ${boots}, two for each core at a time, none hanging`, { timeout: 600_000 }, async () => {
  const folder = await testFolder()
  const { driver, close } = await openQemu(
    parseConfig(engineConfig, { stateDir: folder.stateDir, assets: assetsFile }),
    silentLog(),
  )
  const failed = new AbortController()
  let next = 0

  const boot = async (slot: number, turn: number) => {
    const id = `boot-${turn}`
    const over = new AbortController()
    const signal = AbortSignal.any([failed.signal, over.signal, AbortSignal.timeout(longestMs)])
    const start = performance.now()
    const vm = await driver.boot({ id, slot, image: 'python', vcpus: 1, memoryMib: 256, diskMib: 128 }, signal)
    const state = await readState(statePaths(folder.stateDir).vm(id).state)
    const time = new OwnTime(state?.qemu.pid ?? 0)
    const hung = time.reach(limitMs, signal).then(() => over.abort(new Error('it hangs')))
    hung.catch(() => undefined)
    try {
      const channel = await GuestChannel.open(await vm.connect(signal), { signal, again: false })
      expect((await askHealth(channel, signal)).boot_ms).toBeGreaterThan(0)
      channel.close()
    } catch (error) {
      failed.signal.throwIfAborted()
      const wallMs = performance.now() - start
      throw new Error(await account(vm, turn, wallMs, time.ms), { cause: error })
    } finally {
      over.abort()
      await vm.stop()
    }
  }
  const lane = async (slot: number) => {
    for (let turn = next++; turn < boots; turn = next++) await boot(slot, turn)
  }
  try {
    const lanes = Array.from({ length: atOnce }, (_, slot) =>
      lane(slot).catch((error: unknown) => {
        failed.abort(error)
        throw error
      }),
    )
    await Promise.allSettled(lanes)
    await Promise.all(lanes)
    expect(await folder.leftovers()).toEqual([])
  } finally {
    await close()
    await folder.remove()
  }
})

/** Everything that tells a guest that hangs from one that is starved, and where it hangs. */
async function account(vm: Vm, turn: number, wallMs: number, ownMs: number): Promise<string> {
  const { cpuMs } = (await vm.metrics()) ?? {}
  const [first, second] = [await (vm as QemuMachine).account(), await (vm as QemuMachine).account()]
  return [
    `boot ${turn} did not answer in ${seconds(wallMs)}, of which it had ${seconds(ownMs)} and used ${seconds(cpuMs ?? 0)} of a core; load ${loadavg().join(' ')}`,
    `its console:\n${vm.console() || '(nothing)'}`,
    `QEMU:\n${first}`,
    `QEMU, a moment later:\n${second}`,
  ].join('\n')
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
