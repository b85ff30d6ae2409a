/** One sandbox: its record, who may see it, and the orchestration of its life in `sandbox/`. Asked for an id that was never created it writes nothing. */

import { DurableObject } from 'cloudflare:workers'
import type { RunRecord } from '@portico/shared/api'
import { systemClock } from '@portico/shared/clock'
import type { SandboxEventMessage } from '@portico/shared/control'
import type { Env } from '../env.ts'
import { type Outcome, outcome } from '../outcome.ts'
import type { Caller, CreateInput, Ended, Route, SandboxPort } from '../ports.ts'
import { create } from '../sandbox/create.ts'
import { destroy } from '../sandbox/destroy.ts'
import { Life, type RecordStore } from '../sandbox/life.ts'
import { claims, hear, lose, wake } from '../sandbox/news.ts'
import { publicRecord, type SandboxRecord } from '../sandbox/record.ts'
import { routeOf } from '../sandbox/route.ts'
import { update } from '../sandbox/update.ts'
import { objectsOf } from './objects.ts'

export class SandboxObject extends DurableObject<Env> implements SandboxPort {
  readonly #life: Life

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const background = (work: Promise<unknown>) => ctx.waitUntil(work)
    this.#life = new Life({ store: recordStore(ctx), objects: objectsOf(env), clock: systemClock, background })
  }

  create(input: CreateInput): Promise<Outcome<RunRecord>> {
    return outcome('create a sandbox', () => create(this.#life, input))
  }

  read(caller: Caller): Promise<Outcome<RunRecord>> {
    return outcome('read a sandbox', () => publicRecord(this.#life.usable(caller)))
  }

  route(caller: Caller): Promise<Outcome<Route>> {
    return outcome('find a sandbox', () => routeOf(this.#life.usable(caller)))
  }

  update(caller: Caller, idleTimeout: number): Promise<Outcome<RunRecord>> {
    return outcome('change a sandbox', () => update(this.#life, caller, idleTimeout))
  }

  destroy(caller: Caller): Promise<Outcome<Ended>> {
    return outcome('destroy a sandbox', () => destroy(this.#life, caller))
  }

  event(runner: string, message: SandboxEventMessage): Promise<Outcome<void>> {
    return outcome('hear of a sandbox', () => hear(this.#life, runner, message))
  }

  lost(runner: string, generation: number): Promise<Outcome<void>> {
    return outcome('lose a sandbox', () => lose(this.#life, runner, generation))
  }

  async claims(runner: string, generation: number): Promise<boolean> {
    return claims(this.#life, runner, generation)
  }

  override alarm(): Promise<void> {
    return wake(this.#life)
  }
}

function recordStore(ctx: DurableObjectState): RecordStore {
  const { storage } = ctx
  return {
    get: () => storage.kv.get<SandboxRecord>('record'),
    put: (record) => storage.kv.put('record', record),
    setAlarm: (at) => ctx.waitUntil(at === undefined ? storage.deleteAlarm() : storage.setAlarm(at)),
    clear: () => storage.deleteAll(),
  }
}
