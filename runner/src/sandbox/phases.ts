/**
 * A machine on its way up. Each phase is its own type, so what needs a ready guest cannot be given one that still starts, and each knows how to unwind
 * itself:
 *
 *   PreparedVm (a place on this runner) ──boot, restore──▶ BootedVm (agent answers) ──identify──▶ ReadyVm (guest confirmed who it is)
 *                                                            └─ pause ⇄ resume
 *
 * A step that fails has unwound what it had taken, and leaves the phase before as it was.
 */

import { type Clock, sleep } from '@portico/shared/clock'
import { deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { askHealth, giveIdentity, type Identity } from '../guest/agent.ts'
import { GuestChannel } from '../guest/channel.ts'
import { GuestLink } from '../guest/link.ts'
import type { Logger } from '../log.ts'
import type { BootOptions, Vm, VmDriver, VmSpec } from '../vm/driver.ts'
import type { MachineState } from '../vm/machine-state.ts'
import { lastLines } from '../vm/text-ring.ts'
import type { BootGate } from './boot-gate.ts'
import { identityOf } from './identity.ts'

export interface BootLimits {
  /** From the processor's first instruction to the agent's first answer. */
  readonly bootMs: number
  readonly identityMs: number
  /** How often a boot that hangs is tried in all. */
  readonly tries: number
}

/** Emulation takes 3 s, and many times that on a busy host; a boot that has not come up after this never does. */
export const bootLimits: BootLimits = { bootMs: 45_000, identityMs: 15_000, tries: 2 }

export interface PhaseContext {
  readonly driver: VmDriver
  readonly gate: BootGate
  readonly clock: Clock
  readonly limits: BootLimits
  readonly log: Logger
}

export interface RestoreOptions {
  /**
   * `now` for a state that was captured with its channel open: its agent stands in the middle of a session. True where the channel was closed before, as
   * the agent may not have come to notice.
   */
  readonly again: boolean | 'now'
}

export class PreparedVm {
  readonly #context: PhaseContext
  readonly #spec: VmSpec

  constructor(context: PhaseContext, spec: VmSpec) {
    this.#context = context
    this.#spec = spec
  }

  /** Boots; a boot that hangs or dies is tried again once. */
  async boot(signal: AbortSignal, options: BootOptions = {}): Promise<BootedVm> {
    const leave = await this.#context.gate.enter(signal)
    try {
      for (let tries = this.#context.limits.tries; ; tries--) {
        try {
          return await this.#bootOnce(signal, options)
        } catch (error) {
          if (signal.aborted) throw signal.reason
          if (tries <= 1 || !(error instanceof AppError && error.code === 'boot_failed')) throw error
          this.#context.log.warn({ machine: this.#spec.id, error }, 'machine.boot-again')
        }
      }
    } finally {
      leave()
    }
  }

  /** Makes a machine of a state, which must not be released before this settles, and lets it go on. */
  async restore(state: MachineState, { again }: RestoreOptions, caller: AbortSignal): Promise<BootedVm> {
    const vm = await this.#context.driver.restore(this.#spec, state, caller)
    return await this.#answering(vm, 'restore', caller, async (signal) => {
      // Before it goes on, so that its agent finds its port open at once.
      const link = await vm.connect(signal)
      await vm.resume()
      return await GuestChannel.open(link, { signal, again, clock: this.#context.clock })
    })
  }

  async #bootOnce(caller: AbortSignal, options: BootOptions): Promise<BootedVm> {
    const { driver, clock } = this.#context
    const vm = await driver.boot(this.#spec, caller, options)
    return await this.#answering(vm, 'boot', caller, async (signal) => {
      const channel = await GuestChannel.open(await vm.connect(signal), { signal, again: false, clock })
      await healthy(channel, signal, clock)
      return channel
    })
  }

  /** Opens the machine's channel; a machine that ends or stays silent meanwhile is stopped. */
  async #answering(
    vm: Vm,
    how: 'boot' | 'restore',
    caller: AbortSignal,
    open: (signal: AbortSignal) => Promise<GuestChannel>,
  ): Promise<BootedVm> {
    const { clock, limits } = this.#context
    const over = new AbortController()
    const limitMs = how === 'boot' ? limits.bootMs : limits.identityMs
    const failed = (why: string, cause?: unknown) => startFailed(how, why, vm, cause)
    void vm.ended.then((end) => over.abort(failed(end.reason)))
    const cancel = clock.after(limitMs, () => over.abort(failed(`not up within ${limitMs} ms`)))
    const signal = AbortSignal.any([caller, over.signal])
    try {
      return new BootedVm(this.#context, this.#spec, vm, await open(signal))
    } catch (error) {
      // A machine that ends closes its port first and says why a moment later.
      if (!signal.aborted) await settled(vm.ended, endedGraceMs, clock)
      const reason = over.signal.aborted ? over.signal.reason : error
      await vm.stop()
      if (caller.aborted) throw caller.reason
      throw reason instanceof AppError && reason.code !== 'boot_failed' ? failed(reason.message, reason) : reason
    } finally {
      cancel()
    }
  }
}

export class BootedVm {
  readonly vm: Vm
  readonly channel: GuestChannel
  readonly #context: PhaseContext
  readonly #spec: VmSpec

  constructor(context: PhaseContext, spec: VmSpec, vm: Vm, channel: GuestChannel) {
    this.#context = context
    this.#spec = spec
    this.vm = vm
    this.channel = channel
  }

  /** Tells the guest who it is. No confirmation, no sandbox: unwinds itself if that fails. */
  async identify(identity: Identity, caller: AbortSignal): Promise<ReadyVm> {
    const { driver, clock, limits } = this.#context
    using signal = deadline(limits.identityMs, "give the sandbox's guest its identity", caller)
    // The link, not the channel: it keeps what the guest was told for the channels after this one.
    const link = linkTo(this.#context, this.vm, this.channel)
    try {
      await giveIdentity(link, identityOf(driver.images, this.#spec.image, identity), clock, signal)
      return new ReadyVm(this.#context, this.vm, link)
    } catch (error) {
      link.close(AppError.from(error))
      await this.unwind()
      throw error
    }
  }

  /** Holds the machine still; its channel stays open. */
  async pause(): Promise<void> {
    this.channel.stopKeepalive()
    await this.vm.pause()
  }

  async resume(): Promise<void> {
    await this.vm.resume()
    this.channel.startKeepalive()
  }

  async unwind(): Promise<void> {
    this.channel.close()
    await this.vm.stop()
  }
}

/** A sandbox's machine. Also made of a machine that was found running, or of a hibernated sandbox's link that goes on in another machine. */
export class ReadyVm {
  readonly vm: Vm
  readonly link: GuestLink
  /** Resolves when it is of no more use by itself: the machine ended, or its agent is out of reach for good. */
  readonly broken: Promise<string>

  constructor(_context: PhaseContext, vm: Vm, link: GuestLink) {
    this.vm = vm
    this.link = link
    const ended = vm.ended.then((end) => end.reason)
    const lost = losses.get(link)
    this.broken = lost !== undefined ? Promise.race([ended, lost]) : ended
  }

  /** Ends the guest's link with `error` for whoever waits on it, and the machine. Resolves when everything is free. */
  async unwind(error: AppError): Promise<void> {
    this.link.close(error)
    await this.vm.stop()
  }
}

/** Links that tell when their guest is out of reach for good. A link may outlive its machine: it goes on in the next one. */
const losses = new WeakMap<GuestLink, Promise<string>>()

function linkTo({ clock }: PhaseContext, vm: Vm, first: GuestChannel): GuestLink {
  const { promise, resolve } = Promise.withResolvers<string>()
  const link = new GuestLink({
    connect: (signal) => vm.connect(signal),
    first,
    clock,
    onLost: () => resolve('its agent does not answer any more'),
  })
  losses.set(link, promise)
  return link
}

const endedGraceMs = 250

/** Waits for a promise that never rejects, but not for longer than the limit. */
async function settled(promise: Promise<unknown>, limitMs: number, clock: Clock): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const cancel = clock.after(limitMs, resolve)
  await Promise.race([promise, late])
  cancel()
}

const healthRetryMs = 50

/** The agent's channel may be up a moment before its server. */
async function healthy(channel: GuestChannel, signal: AbortSignal, clock: Clock): Promise<void> {
  for (;;) {
    try {
      await askHealth(channel, signal)
      return
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof AppError && error.code === 'guest_error')) throw error
      await sleep(healthRetryMs, signal, clock)
    }
  }
}

/** With the end of the guest's console, which usually says why. */
function startFailed(how: 'boot' | 'restore', why: string, vm: Vm, cause?: unknown): AppError {
  const tail = lastLines(vm.console(), consoleTailLength)
  const ending = tail === undefined ? '' : `; the end of its console: ${tail}`
  return new AppError('boot_failed', `cannot ${how} the sandbox: ${why}${ending}`, { cause })
}

/** Of the 500 characters that a message may have. */
const consoleTailLength = 360
