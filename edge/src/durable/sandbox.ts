/** One sandbox: its record, who may see it, and the orchestration of its life in `sandbox/`. Asked for an id that was never created it writes nothing. */

import { DurableObject } from 'cloudflare:workers'
import type { RunRecord } from '@portico/shared/api'
import { systemClock } from '@portico/shared/clock'
import type { SandboxEventMessage } from '@portico/shared/control'
import type { Env } from '../env.ts'
import { type Outcome, outcome } from '../outcome.ts'
import type {
  Caller,
  CallOutcome,
  ChildInput,
  Created,
  CreateInput,
  Ended,
  Forks,
  RestoreInput,
  Route,
  SandboxPort,
  Snapshot,
} from '../ports.ts'
import { announce, settle } from '../sandbox/child.ts'
import { create } from '../sandbox/create.ts'
import { destroy } from '../sandbox/destroy.ts'
import { fork } from '../sandbox/fork.ts'
import { Life, type RecordStore } from '../sandbox/life.ts'
import { claims, hear, lose, wake } from '../sandbox/news.ts'
import { publicRecord, type SandboxRecord } from '../sandbox/record.ts'
import { restore } from '../sandbox/restore.ts'
import { routeOf } from '../sandbox/route.ts'
import { hibernate, resume } from '../sandbox/sleep.ts'
import { snapshot } from '../sandbox/snapshot.ts'
import { update } from '../sandbox/update.ts'
import { usage } from '../sandbox/usage.ts'
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

  usage(caller: Caller): Promise<Outcome<Ended>> {
    return outcome('measure a sandbox', () => usage(this.#life, caller))
  }

  hibernate(caller: Caller): Promise<Outcome<RunRecord>> {
    return outcome('hibernate a sandbox', () => hibernate(this.#life, caller))
  }

  resume(caller: Caller): Promise<Outcome<RunRecord>> {
    return outcome('resume a sandbox', () => resume(this.#life, caller))
  }

  fork(caller: Caller, children: readonly string[]): Promise<Outcome<Forks>> {
    return outcome('fork a sandbox', () => fork(this.#life, caller, children))
  }

  snapshot(caller: Caller, id: string): Promise<Outcome<Snapshot>> {
    return outcome('snapshot a sandbox', () => snapshot(this.#life, caller, id))
  }

  restore(input: RestoreInput): Promise<Outcome<RunRecord>> {
    return outcome('restore a sandbox', () => restore(this.#life, input))
  }

  announce(input: ChildInput): Promise<Outcome<void>> {
    return outcome('announce a sandbox', () => announce(this.#life, input))
  }

  settle(answer: CallOutcome<Created>): Promise<Outcome<RunRecord>> {
    return outcome('settle a sandbox', () => settle(this.#life, answer))
  }

  event(runner: string, message: SandboxEventMessage): Promise<Outcome<boolean>> {
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
