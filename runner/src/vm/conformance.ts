/**
 * What every driver must do, as a suite: the contract's sentences as tests. Called with the fake and with the real one; what happens inside a guest is
 * therefore told through its agent's HTTP alone.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { abortable } from '@portico/shared/dispose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askHealth } from '../guest/agent.ts'
import { GuestChannel } from '../guest/channel.ts'
import { mountDisks, whileFrozen } from '../guest/checkpoint.ts'
import type { Vm, VmDriver, VmSpec } from './driver.ts'
import type { MachineState } from './machine-state.ts'

export interface Subject {
  readonly driver: VmDriver
  /** Ends a machine's process as a crash would. */
  readonly crash: (vm: Vm) => Promise<void>
  /** The same host with a new process of the runner: the driver that it opens. The old one is of no more use. */
  readonly restart: () => Promise<VmDriver>
  /** Names of what machines have left on the host: processes, files. Empty when no machine exists. */
  readonly leftovers: () => Promise<readonly string[]>
  readonly close: () => Promise<void>
}

export function vmDriverConformance(name: string, open: () => Promise<Subject>, limitMs = 60_000): void {
  describe(`a virtual machine driver: ${name}`, { timeout: limitMs }, () => {
    let subject: Subject
    let driver: VmDriver
    let slot = 0
    let template: MachineState
    const signal = () => AbortSignal.timeout(limitMs)
    const capture = (vm: Vm, pages: 'memory' | 'file') => vm.capture({ pages, signal: signal() })

    const specOf = (id: string): VmSpec => {
      const [image = ''] = driver.images.keys()
      return { id, slot: slot++, image, vcpus: 1, memoryMib: 256, diskMib: 128 }
    }

    /** A machine in `state` that runs and whose agent answers. */
    const start = async (id: string, state = template, again: true | 'now' = true) => {
      const vm = await driver.restore(specOf(id), state, signal())
      return { vm, channel: await goOn(vm, again) }
    }
    const goOn = async (vm: Vm, again: true | 'now') => {
      const link = await vm.connect(signal())
      await vm.resume()
      return await GuestChannel.open(link, { signal: signal(), again })
    }

    beforeAll(async () => {
      subject = await open()
      driver = subject.driver
    }, limitMs)
    afterAll(async () => {
      await template?.release()
      await subject.close()
    }, limitMs)

    describe('a machine that is booted', () => {
      let vm: Vm
      beforeAll(async () => {
        vm = await driver.boot(specOf('conformance-runs'), signal())
      }, limitMs)
      afterAll(() => vm.stop(), limitMs)

      it('reaches its agent over a channel, and again over a new one', async () => {
        for (let round = 0; round < 3; round++) {
          const channel = await openChannel(vm, round > 0, signal())
          expect((await askHealth(channel, signal())).generation).toBe(1)
          await end(channel)
        }
      })

      it('tells the end of a channel that the host closes', async () => {
        const channel = await openChannel(vm, true, signal())
        const asked = askHealth(channel, signal())
        channel.close()
        await expect(asked).rejects.toMatchObject({ code: 'guest_disconnected' })
        await channel.closed
      })

      it('is measured', async () => {
        const metrics = await vm.metrics()
        expect(metrics?.cpuMs).toBeGreaterThan(0)
        expect(metrics?.memoryBytes).toBeGreaterThan(0)
        expect(metrics?.memoryPeakBytes).toBeGreaterThanOrEqual(metrics?.memoryBytes ?? 0)
        expect(metrics?.diskBytes).toBeGreaterThan(0)
      })

      it('answers nothing while it is paused, and everything afterwards', async () => {
        const channel = await openChannel(vm, true, signal())
        await vm.pause()
        await vm.pause()
        let answered = false
        const asked = askHealth(channel, signal()).finally(() => (answered = true))
        // Long enough for any answer, as the last ones took a part of it.
        await new Promise((done) => setTimeout(done, 200))
        expect(answered).toBe(false)
        await vm.resume()
        await vm.resume()
        expect((await asked).generation).toBe(1)
        await write(channel, '/conformance', 'before the template', signal())
        await end(channel)
      })

      it('is captured with the state of the moment, which outlives it', async () => {
        template = await capture(vm, 'memory')
        expect(template.versions).toEqual(driver.versions)
        expect(template.shape).toMatchObject({ vcpus: 1, memoryMib: 256, diskMib: 128, ...driver.guest })
        expect(template.layers.length).toBeGreaterThan(0)
        await vm.stop()
      })

      it('ends as stopped, frees everything and may be stopped again', async () => {
        await Promise.all([vm.stop(), vm.stop()])
        expect(await vm.ended).toMatchObject({ kind: 'stopped' })
        expect(await subject.leftovers()).toEqual([])
        await expect(vm.connect(signal())).rejects.toMatchObject({ code: 'guest_disconnected' })
        expect(await vm.metrics()).toBeUndefined()
      })
    })

    it('restores machines of one state side by side, each with its files and each its own from then on', async () => {
      const [one, two] = await Promise.all([start('conformance-one'), start('conformance-two')])
      try {
        for (const { channel } of [one, two])
          expect(await read(channel, '/conformance', signal())).toBe('before the template')
        await write(one.channel, '/conformance', 'in one of two', signal())
        expect(await read(two.channel, '/conformance', signal())).toBe('before the template')
        expect(await read(one.channel, '/conformance', signal())).toBe('in one of two')
      } finally {
        await Promise.all([one.vm.stop(), two.vm.stop()])
      }
      expect(await subject.leftovers()).toEqual([])
    })

    it('holds a restored machine still until it is told to go on', async () => {
      const vm = await driver.restore(specOf('conformance-still'), template, signal())
      try {
        const link = await vm.connect(signal())
        let heard = false
        link.once('readable', () => (heard = true))
        await new Promise((done) => setTimeout(done, 200))
        expect(heard).toBe(false)
        await vm.resume()
        const channel = await GuestChannel.open(link, { signal: signal(), again: true })
        expect((await askHealth(channel, signal())).generation).toBe(1)
        channel.close()
      } finally {
        await vm.stop()
      }
    })

    it('restores with a larger disk', async () => {
      const spec = { ...specOf('conformance-disk'), diskMib: 512 }
      const vm = await driver.restore(spec, template, signal())
      try {
        const channel = await goOn(vm, true)
        expect(await read(channel, '/conformance', signal())).toBe('before the template')
        channel.close()
        expect((await capture(vm, 'memory').then(released)).shape.diskMib).toBe(512)
      } finally {
        await vm.stop()
      }
    })

    it.each(['memory', 'file'] as const)(
      'captures a running machine, its pages in %s: its open channel goes on, and a child has the files of the moment',
      async (pages) => {
        const parent = await start(`conformance-parent-${pages}`)
        let child: Vm | undefined
        try {
          await write(parent.channel, '/moment', 'at the fork', signal())
          const rest = Promise.withResolvers<void>()
          const half = Promise.withResolvers<void>()
          const written = put(parent.channel, '/crossing', halves(half.resolve, rest.promise), signal())
          await half.promise
          const state = await capture(parent.vm, pages)
          expect(state.pages.file === undefined).toBe(pages === 'memory')
          await parent.vm.resume()
          rest.resolve()
          await written
          expect(await read(parent.channel, '/crossing', signal())).toBe('one half, and the other')
          await write(parent.channel, '/moment', 'after the fork', signal())
          child = await driver.restore(specOf(`conformance-child-${pages}`), state, signal())
          // Machines made of a state do not need it any more.
          await state.release()
          await state.release()
          const channel = await goOn(child, 'now')
          expect(await read(channel, '/moment', signal())).toBe('at the fork')
          expect(await read(channel, '/conformance', signal())).toBe('before the template')
          expect(await read(parent.channel, '/moment', signal())).toBe('after the fork')
        } finally {
          await parent.vm.stop()
          await child?.stop()
        }
        expect(await subject.leftovers()).toEqual([])
      },
    )

    it('captures a child of a child, and a machine twice', async () => {
      let { vm, channel } = await start('conformance-chain-0')
      for (let depth = 1; depth <= 3; depth++) {
        await write(channel, `/depth-${depth}`, `at ${depth}`, signal())
        await end(channel)
        await (await capture(vm, 'memory')).release()
        const state = await capture(vm, 'file')
        await vm.stop()
        ;({ vm, channel } = await start(`conformance-chain-${depth}`, state, 'now'))
        await state.release()
      }
      try {
        for (const depth of [1, 2, 3]) expect(await read(channel, `/depth-${depth}`, signal())).toBe(`at ${depth}`)
        expect(await read(channel, '/conformance', signal())).toBe('before the template')
      } finally {
        await vm.stop()
      }
      expect(await subject.leftovers()).toEqual([])
    })

    it('captures a paused machine, which stays paused', async () => {
      const { vm, channel } = await start('conformance-paused')
      try {
        await vm.pause()
        await (await capture(vm, 'memory')).release()
        const asked = askHealth(channel, signal())
        await vm.resume()
        expect((await asked).generation).toBe(1)
      } finally {
        await vm.stop()
      }
    })

    it('refuses a capture that is aborted, and leaves the machine unharmed', async () => {
      const { vm, channel } = await start('conformance-unharmed')
      try {
        const reason = new Error('changed my mind')
        await expect(vm.capture({ pages: 'file', signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
        await vm.resume()
        expect((await askHealth(channel, signal())).generation).toBe(1)
        await (await capture(vm, 'file')).release()
      } finally {
        await vm.stop()
      }
      expect(await subject.leftovers()).toEqual([])
    })

    it('hands out its disk of one moment while it runs on: a machine that waited for its disks has what was written before, and nothing else', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'portico-disk-'))
      const { vm, channel } = await start('conformance-disk-of')
      let booted: Vm | undefined
      try {
        await write(channel, '/moment', 'then', signal())
        let moments = 0
        const still = async (moment: () => Promise<void>) => {
          await whileFrozen(channel, () => moment().finally(() => moments++), signal())
        }
        const { layers, shape } = await vm.captureDisk({ folder, still, signal: signal() })
        expect([moments, shape.diskMib]).toEqual([1, 128])
        await write(channel, '/moment', 'later', signal())
        await write(channel, '/after', 'later', signal())
        const refused = vm.captureDisk({ folder, still, signal: AbortSignal.abort(new Error('changed my mind')) })
        await expect(refused).rejects.toThrow('changed my mind')
        expect(await read(channel, '/moment', signal())).toBe('later')
        await (await capture(vm, 'memory')).release()
        await vm.stop()
        const waits = await driver.boot(specOf('conformance-waits'), signal(), { waits: true })
        let bare: MachineState
        try {
          const first = await openChannel(waits, false, signal())
          await askHealth(first, signal())
          await end(first)
          bare = await capture(waits, 'memory')
        } finally {
          await waits.stop()
        }
        const state = { ...bare, layers, shape: { ...bare.shape, diskMib: 256 } }
        booted = await driver.restore({ ...specOf('conformance-on-disk'), diskMib: 256 }, state, signal())
        await bare.release()
        const other = await goOn(booted, true)
        await askHealth(other, signal())
        await mountDisks(other, signal())
        expect(await read(other, '/moment', signal())).toBe('then')
        expect(await read(other, '/conformance', signal())).toBe('before the template')
        expect(await read(other, '/after', signal())).toContain('file_not_found')
        await write(other, '/after', 'in another', signal())
      } finally {
        await Promise.all([vm.stop(), booted?.stop()])
        await rm(folder, { recursive: true, force: true })
      }
      expect(await subject.leftovers()).toEqual([])
    })

    it('tells that the guest powered off', async () => {
      const { vm, channel } = await start('conformance-poweroff')
      try {
        const body = Buffer.from('{"budget_ms":100}')
        await channel.request({ method: 'POST', path: '/poweroff', body, signal: signal() }).catch(() => undefined)
        expect(await abortable(vm.ended, signal())).toMatchObject({ kind: 'guest' })
      } finally {
        await vm.stop()
      }
      expect(await subject.leftovers()).toEqual([])
    })

    it('tells that the process died, and can do nothing with it but stop it', async () => {
      const { vm } = await start('conformance-crash')
      try {
        await subject.crash(vm)
        expect(await abortable(vm.ended, signal())).toMatchObject({ kind: 'crashed' })
        await expect(vm.connect(signal())).rejects.toMatchObject({ code: 'guest_disconnected' })
        await expect(capture(vm, 'memory')).rejects.toThrow()
      } finally {
        await vm.stop()
      }
      expect(await subject.leftovers()).toEqual([])
    })

    it('boots machines side by side', async () => {
      const specs = [specOf('conformance-a'), specOf('conformance-b')] as const
      const vms = await Promise.all(specs.map((spec) => driver.boot(spec, signal())))
      await Promise.all(vms.map((vm) => vm.stop()))
      expect(await subject.leftovers()).toEqual([])
    })

    it('leaves nothing of a start that is aborted', async () => {
      const reason = new Error('changed my mind')
      const aborted = AbortSignal.abort(reason)
      await expect(driver.boot(specOf('conformance-aborted'), aborted)).rejects.toBe(reason)
      await expect(driver.restore(specOf('conformance-again'), template, aborted)).rejects.toBe(reason)
      expect(await subject.leftovers()).toEqual([])
    })

    it('refuses an image that it does not have', async () => {
      const spec = { ...specOf('conformance-image'), image: 'no-such-image' }
      await expect(driver.boot(spec, signal())).rejects.toMatchObject({ code: 'image_unknown' })
      expect(await subject.leftovers()).toEqual([])
    })

    // Last: the driver is another one from here on.
    it('finds the machines of a process that died and takes them over, running or paused; knows those that are gone', async () => {
      const names = ['conformance-runs-on', 'conformance-stands', 'conformance-dead'] as const
      const [runs, stands, dead] = await Promise.all([start(names[0]), start(names[1]), start(names[2])])
      await write(runs.channel, '/mine', 'of the one that runs', signal())
      await stands.vm.pause()
      await subject.crash(dead.vm)
      driver = await subject.restart()
      expect((await driver.found()).toSorted()).toEqual(names.toSorted())
      const [one, two, three] = await Promise.all(names.map((id) => driver.adopt(id, signal())))
      try {
        expect(three).toBeUndefined()
        expect(await driver.adopt('conformance-unknown', signal())).toBeUndefined()
        expect(one?.spec).toEqual(runs.vm.spec)
        if (!one || !two) throw new Error('a machine was not taken over')
        const channel = await openChannel(one, true, signal())
        expect(await read(channel, '/mine', signal())).toBe('of the one that runs')
        const state = await capture(one, 'file')
        const child = await driver.restore(specOf('conformance-adopted-child'), state, signal())
        await state.release()
        try {
          expect(await read(await goOn(child, 'now'), '/mine', signal())).toBe('of the one that runs')
        } finally {
          await child.stop()
        }
        const link = await two.connect(signal())
        await two.resume()
        const other = await GuestChannel.open(link, { signal: signal(), again: true })
        expect((await askHealth(other, signal())).generation).toBe(1)
      } finally {
        await Promise.all([one?.stop(), two?.stop()])
      }
      expect(await driver.found()).toEqual([])
      expect(await subject.leftovers()).toEqual([])
    })
  })
}

async function openChannel(vm: Vm, again: boolean, signal: AbortSignal): Promise<GuestChannel> {
  return await GuestChannel.open(await vm.connect(signal), { signal, again })
}

async function end(channel: GuestChannel): Promise<void> {
  channel.close()
  await channel.closed
}

async function released(state: MachineState): Promise<MachineState> {
  await state.release()
  return state
}

async function write(channel: GuestChannel, path: string, text: string, signal: AbortSignal): Promise<void> {
  await put(channel, path, Buffer.from(text), signal)
}

async function put(
  channel: GuestChannel,
  path: string,
  body: Uint8Array | AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const url = `/files?path=${encodeURIComponent(path)}`
  const response = await channel.request({ method: 'PUT', path: url, body, signal })
  expect([response.status, await textOf(response.body)]).toEqual([200, expect.anything()])
}

async function read(channel: GuestChannel, path: string, signal: AbortSignal): Promise<string> {
  const url = `/files?path=${encodeURIComponent(path)}`
  const response = await channel.request({ method: 'GET', path: url, signal })
  return await textOf(response.body)
}

/** A body that waits between its halves. */
async function* halves(half: () => void, rest: Promise<void>): AsyncGenerator<Uint8Array> {
  yield Buffer.from('one half, ')
  half()
  await rest
  yield Buffer.from('and the other')
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const bytes of body) parts.push(bytes)
  return Buffer.concat(parts).toString('utf8')
}
