/** What every driver must do, as a suite: the contract's sentences as tests. Called with the fake and with the real one. */

import { abortable } from '@portico/shared/dispose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askHealth } from '../guest/agent.ts'
import { GuestChannel } from '../guest/channel.ts'
import type { Vm, VmDriver, VmSpec } from './driver.ts'

export interface Subject {
  readonly driver: VmDriver
  /** Ends a machine's process as a crash would. */
  readonly crash: (vm: Vm) => Promise<void>
  /** Names of what machines have left on the host: processes, files. Empty when no machine exists. */
  readonly leftovers: () => Promise<readonly string[]>
  readonly close: () => Promise<void>
}

export function vmDriverConformance(name: string, open: () => Promise<Subject>, limitMs = 60_000): void {
  describe(`a virtual machine driver: ${name}`, { timeout: limitMs }, () => {
    let subject: Subject
    let slot = 0
    const signal = () => AbortSignal.timeout(limitMs)

    const specOf = (id: string): VmSpec => {
      const [image = ''] = subject.driver.images.keys()
      return { id, generation: 1, slot: slot++, image, vcpus: 1, memoryMib: 256, diskMib: 128 }
    }

    beforeAll(async () => {
      subject = await open()
    }, limitMs)
    afterAll(() => subject.close(), limitMs)

    describe('a machine that runs', () => {
      let vm: Vm
      beforeAll(async () => {
        vm = await subject.driver.start(specOf('conformance-runs'), signal())
      }, limitMs)
      afterAll(() => vm.stop(), limitMs)

      it('reaches its agent over a channel', async () => {
        const channel = await openChannel(vm, false, signal())
        expect((await askHealth(channel, signal())).generation).toBe(1)
        channel.close()
        await channel.closed
      })

      it('reaches its agent again over a new channel', async () => {
        for (let round = 0; round < 3; round++) {
          const channel = await openChannel(vm, true, signal())
          await askHealth(channel, signal())
          channel.close()
          await channel.closed
        }
      })

      it('tells the end of a channel that the host closes', async () => {
        const channel = await openChannel(vm, true, signal())
        const asked = askHealth(channel, signal())
        channel.close()
        await expect(asked).rejects.toMatchObject({ code: 'guest_disconnected' })
      })

      it('is measured', async () => {
        const metrics = await vm.metrics()
        expect(metrics?.cpuMs).toBeGreaterThan(0)
        expect(metrics?.memoryBytes).toBeGreaterThan(0)
        expect(metrics?.memoryPeakBytes).toBeGreaterThanOrEqual(metrics?.memoryBytes ?? 0)
        expect(metrics?.diskBytes).toBeGreaterThan(0)
      })

      it('ends as stopped, frees everything and may be stopped again', async () => {
        await Promise.all([vm.stop(), vm.stop()])
        expect(await vm.ended).toMatchObject({ kind: 'stopped' })
        expect(await subject.leftovers()).toEqual([])
        await vm.stop()
        await expect(vm.connect(signal())).rejects.toMatchObject({ code: 'guest_disconnected' })
        expect(await vm.metrics()).toBeUndefined()
      })
    })

    it('tells that the guest powered off', async () => {
      const vm = await subject.driver.start(specOf('conformance-poweroff'), signal())
      try {
        const channel = await openChannel(vm, false, signal())
        const powerOff = { method: 'POST', path: '/poweroff', body: bytes('{"budget_ms":100}'), signal: signal() }
        await channel.request(powerOff).catch(() => undefined)
        expect(await abortable(vm.ended, signal())).toMatchObject({ kind: 'guest' })
      } finally {
        await vm.stop()
      }
      expect(await subject.leftovers()).toEqual([])
    })

    it('tells that the process died', async () => {
      const vm = await subject.driver.start(specOf('conformance-crash'), signal())
      try {
        await subject.crash(vm)
        expect(await abortable(vm.ended, signal())).toMatchObject({ kind: 'crashed' })
        await expect(vm.connect(signal())).rejects.toMatchObject({ code: 'guest_disconnected' })
      } finally {
        await vm.stop()
      }
      expect(await subject.leftovers()).toEqual([])
    })

    it('starts machines side by side and the same id again after a stop', async () => {
      const specs = [specOf('conformance-a'), specOf('conformance-b')] as const
      const vms = await Promise.all(specs.map((spec) => subject.driver.start(spec, signal())))
      await Promise.all(vms.map((vm) => vm.stop()))
      const again = await subject.driver.start(specs[0], signal())
      await again.stop()
      expect(await subject.leftovers()).toEqual([])
    })

    it('leaves nothing of a start that is aborted', async () => {
      const reason = new Error('changed my mind')
      await expect(subject.driver.start(specOf('conformance-aborted'), AbortSignal.abort(reason))).rejects.toBe(reason)
      expect(await subject.leftovers()).toEqual([])
    })

    it('refuses an image that it does not have', async () => {
      const spec = { ...specOf('conformance-image'), image: 'no-such-image' }
      await expect(subject.driver.start(spec, signal())).rejects.toMatchObject({ code: 'image_unknown' })
      expect(await subject.leftovers()).toEqual([])
    })
  })
}

async function openChannel(vm: Vm, again: boolean, signal: AbortSignal): Promise<GuestChannel> {
  return await GuestChannel.open(await vm.connect(signal), { signal, again })
}

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}
