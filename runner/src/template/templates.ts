/**
 * The templates of this runner: saved states of machines that were booted and are nobody's yet. Each is built once, whoever waits for it, and found again
 * by the next process of the runner.
 *
 *   none ──get──▶ opening ──▶ verified ──get──▶ (the same)        not used for long, and there are too many ──▶ removed
 *                    └─ not there, damaged ──▶ building ──▶ verified
 *                                                 └─ failed twice ──▶ none
 *
 * It owns the `templates` folder. Machines made of a template have links of their own to its files, so it can be removed while they run.
 */

import { readdir, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { sleep } from '@portico/shared/clock'
import { abortable, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import type { Reservation, Room } from '../capacity.ts'
import type { StatePaths } from '../paths.ts'
import { type PhaseContext, PreparedVm } from '../sandbox/phases.ts'
import { removeSaved, sweepSaved } from '../snapshot/folders.ts'
import { openState } from '../snapshot/open.ts'
import { saveState } from '../snapshot/save.ts'
import { newMachineId } from '../vm/machine-id.ts'
import type { MachineState } from '../vm/machine-state.ts'
import { diskClass, type MachineNeeds, templateKey } from './key.ts'
import { prime, primeLimitMs } from './prime.ts'

export interface Template {
  readonly key: string
  readonly state: MachineState
}

export interface TemplatesOptions {
  readonly context: PhaseContext
  readonly paths: Pick<StatePaths, 'templates' | 'template'>
  /** How many are kept. */
  readonly limit?: number
}

/** Takes a place for the machine that is booted. */
export type Reserve = (room: Room, signal: AbortSignal) => Promise<Reservation>

const defaultLimit = 32
const buildTries = 2
/** Many times what an idle guest needs for it under emulation. */
const noticeMs = 50
/** A machine may just be made of it. */
const keptAfterUseMs = 60_000

export class Templates {
  readonly #options: TemplatesOptions
  readonly #closed = new AbortController()
  /** By key: opened, or on the way. */
  readonly #templates = new Map<string, Promise<Template>>()
  readonly #usedAt = new Map<string, number>()
  readonly #proven = new Set<string>()
  #swept: Promise<unknown> | undefined

  constructor(options: TemplatesOptions) {
    this.#options = options
  }

  /** Throws `image_unknown` if there is no such image. */
  keyOf(needs: MachineNeeds): string {
    return templateKey(this.#options.context.driver, needs)
  }

  /** The template for such a machine, built if need be. `signal` ends the waiting, not the build: others may wait for it, too. */
  async get(needs: MachineNeeds, reserve: Reserve, signal: AbortSignal): Promise<Template> {
    const key = this.keyOf(needs)
    let template = this.#templates.get(key)
    if (!template) {
      template = this.#open(key, needs, reserve)
      this.#templates.set(key, template)
      template.catch(() => this.#templates.delete(key))
    }
    const found = await abortable(template, signal)
    this.#touch(key)
    return found
  }

  /**
   * Looks at a template again of which no machine could be made, and removes it if it is not whole, or if no machine of it has ever come up: it may have
   * been taken at a bad moment. Answers whether it is still there.
   */
  async check(key: string): Promise<boolean> {
    try {
      if (!this.#proven.has(key)) throw new AppError('boot_failed', 'no machine of it ever came up')
      await openState(this.#options.paths.template(key), this.#options.context.driver.versions, this.#closed.signal)
      return true
    } catch (error) {
      this.#options.context.log.warn({ template: key, error }, 'template.damaged')
      this.#templates.delete(key)
      this.#proven.delete(key)
      await removeSaved(this.#options.paths.template(key))
      return false
    }
  }

  /** A machine of it came up. */
  proven(key: string): void {
    this.#proven.add(key)
  }

  /** Ends what is being built; resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#closed.abort(new AppError('runner_disconnected', 'cannot create the sandbox: its runner is stopping'))
    await Promise.allSettled(this.#templates.values())
  }

  async #open(key: string, needs: MachineNeeds, reserve: Reserve): Promise<Template> {
    const { context, paths } = this.#options
    const signal = this.#closed.signal
    // What a crash left half saved.
    this.#swept ??= sweepSaved(paths.templates)
    await this.#swept
    try {
      const { state, verify } = await openState(paths.template(key), context.driver.versions, signal)
      await verify()
      return { key, state }
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof AppError && error.code === 'snapshot_not_found'))
        context.log.warn({ template: key, error }, 'template.damaged')
      await removeSaved(paths.template(key))
    }
    const template = await this.#build(key, needs, reserve, signal)
    await this.#removeOld(key).catch((error: unknown) => context.log.warn({ error }, 'template.remove'))
    return template
  }

  async #build(key: string, needs: MachineNeeds, reserve: Reserve, signal: AbortSignal): Promise<Template> {
    const { log } = this.#options.context
    for (let tries = buildTries; ; tries--) {
      const place = await reserve(needs, signal)
      try {
        return await this.#buildOnce(key, needs, place.slot, signal)
      } catch (error) {
        signal.throwIfAborted()
        log.warn({ template: key, error }, 'template.failed')
        const noUse = error instanceof AppError && error.code === 'capacity'
        if (tries <= 1 || noUse) throw AppError.from(error, 'cannot create the sandbox: its template could not be made')
      } finally {
        place.release()
      }
    }
  }

  async #buildOnce(key: string, needs: MachineNeeds, slot: number, signal: AbortSignal): Promise<Template> {
    const { context, paths } = this.#options
    const { waits = false, ...machine } = needs
    const spec = { ...machine, id: newMachineId(), slot, diskMib: diskClass(needs.diskMib) }
    const startedAt = performance.now()
    const once = { ...context, limits: { ...context.limits, tries: 1 } }
    const booted = await new PreparedVm(once, spec).boot(signal, { waits })
    try {
      using limit = deadline(primeLimitMs, 'prepare the template', signal)
      if (!waits) await prime(booted, { clock: context.clock, rounds: 1, signal: limit })
      booted.channel.close()
      await abortable(booted.channel.closed, signal)
      // Its agent begins at once in each machine that is made of it, if it has noticed that its port is closed. Nothing tells; if it has not, it takes longer.
      await sleep(noticeMs, signal)
      const state = await booted.vm.capture({ pages: 'memory', signal })
      try {
        await saveState(state, paths.template(key), { kind: 'template', generation: 0 })
      } finally {
        await state.release()
      }
    } finally {
      await booted.unwind()
    }
    const { state, verify } = await openState(paths.template(key), context.driver.versions, signal)
    await verify()
    const took = Math.round(performance.now() - startedAt)
    context.log.info({ template: key, ...needs, took_ms: took }, 'template.built')
    return { key, state }
  }

  #touch(key: string): void {
    const now = this.#options.context.clock.now()
    const last = this.#usedAt.get(key)
    this.#usedAt.set(key, now)
    if (last !== undefined && now - last < keptAfterUseMs) return
    // For the next process of the runner.
    void utimes(this.#options.paths.template(key), now / 1000, now / 1000).catch(() => undefined)
  }

  /** Removes the least recently used beyond the limit. */
  async #removeOld(fresh: string): Promise<void> {
    const { paths, limit = defaultLimit, context } = this.#options
    this.#touch(fresh)
    const names = await readdir(paths.templates)
    const used = await Promise.all(
      names.map(async (name) => ({
        name,
        at: this.#usedAt.get(name) ?? (await stat(join(paths.templates, name))).mtimeMs,
      })),
    )
    const oldest = used.toSorted((one, other) => other.at - one.at).slice(limit)
    for (const { name } of oldest) {
      const usedAt = this.#usedAt.get(name)
      const busy = usedAt === undefined ? this.#templates.has(name) : context.clock.now() - usedAt < keptAfterUseMs
      if (busy) continue
      this.#templates.delete(name)
      this.#usedAt.delete(name)
      this.#proven.delete(name)
      await removeSaved(paths.template(name))
    }
  }
}
