/**
 * What the edge asks of one runner, with the book of what it was given: a sandbox is written down before the runner hears of it, and
 * while a call changes its state the book does not claim to know that state, so that the next status is told to the sandbox's object.
 */

import type { Clock } from '@portico/shared/clock'
import type { SandboxSpec } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import type { SandboxState } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import { type CallOutcome, type Created, type Forked, isGone } from '../ports.ts'
import type { AssignedTable } from '../store/assigned.ts'
import { ask } from '../tunnel/ask.ts'
import type { Session } from '../tunnel/sessions.ts'

/** A fork's children are new, so they are all of the first generation. */
const childGeneration = 1

export class RunnerCalls {
  readonly #session: () => Session | undefined
  readonly #assigned: AssignedTable
  readonly #clock: Clock

  constructor(session: () => Session | undefined, assigned: AssignedTable, clock: Clock) {
    this.#session = session
    this.#assigned = assigned
    this.#clock = clock
  }

  async create(sandbox: string, generation: number, spec: SandboxSpec, trace?: string): Promise<CallOutcome<Created>> {
    this.#expect(sandbox, generation)
    const made = await this.#ask('sandbox.create', { sandbox, generation, spec, ...traceOf(trace) })
    return this.#made(sandbox, generation, made)
  }

  async restore(
    sandbox: string,
    generation: number,
    snapshot: string,
    spec: SandboxSpec,
    trace?: string,
  ): Promise<CallOutcome<Created>> {
    this.#expect(sandbox, generation)
    const made = await this.#ask('sandbox.restore', { sandbox, generation, snapshot, spec, ...traceOf(trace) })
    return this.#made(sandbox, generation, made)
  }

  async fork(
    sandbox: string,
    generation: number,
    children: readonly string[],
    trace?: string,
  ): Promise<CallOutcome<Forked>> {
    for (const child of children) this.#expect(child, childGeneration)
    const asked = children.map((child) => ({ sandbox: child, generation: childGeneration }))
    const forked = await this.#ask('sandbox.fork', { sandbox, generation, children: asked, ...traceOf(trace) })
    if (!forked.ok) {
      if (forked.reached !== 'unknown') for (const child of children) this.#assigned.remove(child, childGeneration)
      return forked
    }
    const { resolved_image: resolvedImage, pause_ms: pauseMs } = forked.value
    const entries = new Map(forked.value.children.map((entry) => [entry.sandbox, entry]))
    const ends = children.map((child) => {
      const { error, create_ms: createMs = 0 } = entries.get(child) ?? { error: unanswered }
      if (error === undefined) this.#assigned.confirm(child, childGeneration, 'running', this.#clock.now())
      else this.#assigned.remove(child, childGeneration)
      return { sandbox: child, createMs, error: error === undefined ? null : AppError.fromWire(error).toWire() }
    })
    return { ok: true, value: { resolvedImage, pauseMs, children: ends } }
  }

  async update(sandbox: string, generation: number, idleTimeout: number): Promise<CallOutcome<null>> {
    return nothing(await this.#ask('sandbox.update', { sandbox, generation, idle_timeout: idleTimeout }))
  }

  async destroy(sandbox: string, generation: number): Promise<CallOutcome<Usage>> {
    const ended = await this.#ask('sandbox.destroy', { sandbox, generation })
    if (ended.ok || isGone(ended)) this.#assigned.remove(sandbox, generation)
    return usageOf(ended)
  }

  async stats(sandbox: string, generation: number): Promise<CallOutcome<Usage>> {
    return usageOf(await this.#ask('sandbox.stats', { sandbox, generation }))
  }

  async hibernate(sandbox: string, generation: number): Promise<CallOutcome<Usage>> {
    const call = () => this.#ask('sandbox.hibernate', { sandbox, generation })
    return usageOf(await this.#changing(sandbox, generation, 'hibernated', call))
  }

  async resume(sandbox: string, generation: number): Promise<CallOutcome<null>> {
    const call = () => this.#ask('sandbox.resume', { sandbox, generation })
    return nothing(await this.#changing(sandbox, generation, 'running', call))
  }

  async snapshot(sandbox: string, generation: number, id: string): Promise<CallOutcome<number>> {
    const saved = await this.#ask('sandbox.snapshot', { sandbox, generation, snapshot: id })
    return saved.ok ? { ok: true, value: saved.value.size_bytes } : saved
  }

  async deleteSnapshot(id: string): Promise<CallOutcome<null>> {
    return nothing(await this.#ask('snapshot.delete', { snapshot: id }))
  }

  #ask<Name extends Parameters<typeof ask>[1]>(
    op: Name,
    call: Parameters<typeof ask<Name>>[2],
  ): ReturnType<typeof ask<Name>> {
    return ask<Name>(this.#session(), op, call, this.#clock)
  }

  /** Written down before the runner hears of it. */
  #expect(sandbox: string, generation: number): void {
    this.#assigned.put({ sandbox, generation, confirmed: false, since: this.#clock.now(), told: null })
  }

  #made(
    sandbox: string,
    generation: number,
    made: CallOutcome<{ resolved_image: string; create_ms: number }>,
  ): CallOutcome<Created> {
    if (made.ok) {
      this.#assigned.put({ sandbox, generation, confirmed: true, since: this.#clock.now(), told: 'running' })
      return { ok: true, value: { resolvedImage: made.value.resolved_image, createMs: made.value.create_ms } }
    }
    if (made.reached !== 'unknown') this.#assigned.remove(sandbox, generation)
    return made
  }

  /** A call after which the sandbox is in another state. */
  async #changing<Value>(
    sandbox: string,
    generation: number,
    then: SandboxState,
    call: () => Promise<CallOutcome<Value>>,
  ): Promise<CallOutcome<Value>> {
    this.#assigned.tell(sandbox, generation, null)
    const answer = await call()
    if (answer.ok) this.#assigned.tell(sandbox, generation, then)
    return answer
  }
}

const unanswered = {
  code: 'protocol_error',
  message: 'cannot fork the sandbox: its runner did not say what became of it',
}

function traceOf(trace: string | undefined): { trace?: string } {
  return trace === undefined ? {} : { trace }
}

function nothing(answer: CallOutcome<unknown>): CallOutcome<null> {
  return answer.ok ? { ok: true, value: null } : answer
}

function usageOf(answer: CallOutcome<{ usage: Usage }>): CallOutcome<Usage> {
  return answer.ok ? { ok: true, value: answer.value.usage } : answer
}
