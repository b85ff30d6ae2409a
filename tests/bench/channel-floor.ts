/** One bare VM for the floors of a whole run, booted when the first row asks for it. */

import { GuestChannel } from '@portico/runner/guest'
import { type BareVm, bootBareVm } from './bare-vm.ts'
import { type Ask, execute, forkExecSamples } from './guest-calls.ts'

interface Floor {
  readonly vm: BareVm
  readonly channel: GuestChannel
  readonly ask: Ask
}

let opened: Promise<Floor> | undefined

async function open(): Promise<Floor> {
  const vm = await bootBareVm()
  const channel = await GuestChannel.open(vm.agent, { signal: AbortSignal.timeout(30_000), again: false })
  return { vm, channel, ask: (asked) => channel.request(asked) }
}

function floor(): Promise<Floor> {
  opened ??= open()
  return opened
}

const rawPort = '$(dirname $(grep -lx bench /sys/class/virtio-ports/*/name) | xargs basename)'

export const channelFloor = {
  /** Milliseconds of a fork and exec of /bin/true in a guest, with nothing around it. */
  async forkExec(samples: number): Promise<number[]> {
    return await forkExecSamples((await floor()).ask, samples)
  },

  /** MB/s of raw bytes into the guest through a port of its own, read by `head` alone. */
  async into(bytes: number, samples: number): Promise<number[]> {
    const { vm, ask } = await floor()
    const found: number[] = []
    const chunk = Buffer.alloc(1 << 20)
    for (let n = 0; n < samples; n++) {
      const done = execute(ask, { shell: `head -c ${bytes} /dev/${rawPort} > /dev/null` })
      const start = performance.now()
      for (let left = bytes; left > 0; left -= chunk.length) {
        if (!vm.raw.write(chunk.subarray(0, Math.min(left, chunk.length))))
          await new Promise((resolve) => vm.raw.once('drain', resolve))
      }
      await done
      found.push(bytes / 1000 / (performance.now() - start))
    }
    return found
  },

  /** MB/s of raw bytes out of the guest through a port of its own, written by `head` alone. */
  async outOf(bytes: number, samples: number): Promise<number[]> {
    const { vm, ask } = await floor()
    const found: number[] = []
    for (let n = 0; n < samples; n++) {
      let left = bytes
      const all = new Promise<void>((resolve) => {
        const onData = (data: Buffer) => {
          left -= data.length
          if (left > 0) return
          vm.raw.off('data', onData)
          resolve()
        }
        vm.raw.on('data', onData)
      })
      const start = performance.now()
      const done = execute(ask, { shell: `head -c ${bytes} /dev/zero > /dev/${rawPort}` })
      await all
      found.push(bytes / 1000 / (performance.now() - start))
      await done
    }
    return found
  },

  async close(): Promise<void> {
    const current = await opened
    opened = undefined
    current?.channel.close()
    await current?.vm.stop()
  },
}
