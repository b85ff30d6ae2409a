/**
 * A sandbox's machine on its way up. Each phase is its own type, so what needs a ready guest cannot be given one that still boots, and each knows
 * how to unwind itself:
 *
 *   PreparedVm (a place on this runner) ──boot──▶ BootedVm (agent answers) ──identify──▶ ReadyVm (guest confirmed who it is)
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
import type { Vm, VmDriver, VmEnd, VmSpec } from '../vm/driver.ts'
import { lastLine } from '../vm/text-ring.ts'
import type { BootGate } from './boot-gate.ts'

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

export class PreparedVm {
  readonly #context: PhaseContext
  readonly #spec: VmSpec

  constructor(context: PhaseContext, spec: VmSpec) {
    this.#context = context
    this.#spec = spec
  }

  /** Boots; a boot that hangs or dies is tried again once. */
  async boot(signal: AbortSignal): Promise<BootedVm> {
    const leave = await this.#context.gate.enter(signal)
    try {
      for (let tries = this.#context.limits.tries; ; tries--) {
        try {
          return await this.#bootOnce(signal)
        } catch (error) {
          if (signal.aborted) throw signal.reason
          if (tries <= 1 || !(error instanceof AppError && error.code === 'boot_failed')) throw error
          this.#context.log.warn({ sandbox: this.#spec.id, error }, 'sandbox.boot-again')
        }
      }
    } finally {
      leave()
    }
  }

  async #bootOnce(caller: AbortSignal): Promise<BootedVm> {
    const { driver, clock, limits } = this.#context
    const vm = await driver.start(this.#spec, caller)
    const over = new AbortController()
    void vm.ended.then((end) => over.abort(bootFailed(end.reason, vm)))
    const cancel = clock.after(limits.bootMs, () => over.abort(bootFailed(`not up within ${limits.bootMs} ms`, vm)))
    const signal = AbortSignal.any([caller, over.signal])
    try {
      const channel = await GuestChannel.open(await vm.connect(signal), { signal, again: false, clock })
      await healthy(channel, signal, clock)
      return new BootedVm(this.#context, this.#spec, vm, channel)
    } catch (error) {
      // A machine that ends closes its port first and says why a moment later.
      if (!signal.aborted) await settled(vm.ended, endedGraceMs, clock)
      const reason = over.signal.aborted ? over.signal.reason : error
      await vm.stop()
      throw reason instanceof AppError && reason.code !== 'boot_failed'
        ? bootFailed(reason.message, vm, reason)
        : reason
    } finally {
      cancel()
    }
  }
}

export class BootedVm {
  readonly #context: PhaseContext
  readonly #spec: VmSpec
  readonly #vm: Vm
  readonly #channel: GuestChannel

  constructor(context: PhaseContext, spec: VmSpec, vm: Vm, channel: GuestChannel) {
    this.#context = context
    this.#spec = spec
    this.#vm = vm
    this.#channel = channel
  }

  /** Tells the guest who it is. No confirmation, no sandbox: unwinds itself if that fails. */
  async identify(identity: Identity, caller: AbortSignal): Promise<ReadyVm> {
    const { driver, clock, limits } = this.#context
    const signal = deadline(limits.identityMs, "give the sandbox's guest its identity", caller)
    try {
      const image = driver.images.get(this.#spec.image)
      await giveIdentity(this.#channel, { ...identity, env: { ...image?.env, ...identity.env } }, clock, signal)
      return new ReadyVm(this.#context, this.#vm, this.#channel)
    } catch (error) {
      await this.unwind()
      throw error
    }
  }

  async unwind(): Promise<void> {
    this.#channel.close()
    await this.#vm.stop()
  }
}

export class ReadyVm {
  readonly vm: Vm
  readonly link: GuestLink
  /** Resolves when it is of no more use by itself: the machine ended, or its agent is out of reach for good. */
  readonly broken: Promise<string>

  constructor(context: PhaseContext, vm: Vm, channel: GuestChannel) {
    this.vm = vm
    const { promise, resolve } = Promise.withResolvers<string>()
    this.broken = promise
    this.link = new GuestLink({
      connect: (signal) => vm.connect(signal),
      first: channel,
      clock: context.clock,
      onLost: () => resolve('its agent does not answer any more'),
    })
    void vm.ended.then((end: VmEnd) => resolve(end.reason))
  }

  /** Ends the guest's link with `error` for whoever waits on it, and the machine. Resolves when everything is free. */
  async unwind(error: AppError): Promise<void> {
    this.link.close(error)
    await this.vm.stop()
  }
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

/** With the last line of the guest's console, which usually says why. */
function bootFailed(why: string, vm: Vm, cause?: unknown): AppError {
  const line = lastLine(vm.console())
  const tail = line === undefined ? '' : `; its console's last line: ${line}`
  return new AppError('boot_failed', `cannot boot the sandbox: ${why}${tail}`, { cause })
}
