/** One sandbox: its record, who may see it, and the orchestration of its life in `sandbox/`. Asked for an id that was never created it writes nothing. */

import { DurableObject } from 'cloudflare:workers'
import type { PortRequest, RunRecord, StoreKeys } from '@portico/shared/api'
import { systemClock } from '@portico/shared/clock'
import type { SandboxEventMessage } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { AuditLog } from '../audit/log.ts'
import { auditKeyOf, noteCalls, readAudit } from '../audit/of-sandbox.ts'
import type { Env } from '../env.ts'
import { type Outcome, outcome } from '../outcome.ts'
import type {
  AuditNote,
  AuditPage,
  Caller,
  CallOutcome,
  Checkpoint,
  CheckpointInput,
  CheckpointMade,
  CheckpointRestored,
  ChildInput,
  Created,
  CreateInput,
  Ended,
  Forks,
  GuestImage,
  Patch,
  PortRoute,
  PortSetting,
  RestoreInput,
  Route,
  SandboxPort,
  Snapshot,
  StoreChange,
  StoredValue,
  StoreListInput,
  StoreRow,
} from '../ports.ts'
import {
  bringImage,
  createCheckpoint,
  deleteCheckpoint,
  listCheckpoints,
  restoreCheckpoint,
  waitForCheckpoint,
} from '../sandbox/checkpoints.ts'
import { announce, settle } from '../sandbox/child.ts'
import { create } from '../sandbox/create.ts'
import { destroy } from '../sandbox/destroy.ts'
import { evacuate } from '../sandbox/evacuate.ts'
import { type Copied, fork } from '../sandbox/fork.ts'
import { Life, type RecordStore } from '../sandbox/life.ts'
import { loseForGood } from '../sandbox/lost.ts'
import { claims, hear, lose, wake } from '../sandbox/news.ts'
import { portRouteTo, portSettings, setPort } from '../sandbox/ports.ts'
import { publicRecord, type SandboxRecord } from '../sandbox/record.ts'
import { restore } from '../sandbox/restore.ts'
import { routeTo } from '../sandbox/route.ts'
import { hibernate, resume } from '../sandbox/sleep.ts'
import { snapshot } from '../sandbox/snapshot.ts'
import { applyToStore, fill, Store, storeOf } from '../sandbox/store.ts'
import { markUnreachable } from '../sandbox/unreachable.ts'
import { update } from '../sandbox/update.ts'
import { usage } from '../sandbox/usage.ts'
import { AuditEntries } from '../store/audit-entries.ts'
import { ConsoleIds } from '../store/consoles.ts'
import { migrate, sandboxSchema } from '../store/migrations.ts'
import { PortSettings } from '../store/ports.ts'
import { Values } from '../store/values.ts'
import { objectsOf } from './objects.ts'

export class SandboxObject extends DurableObject<Env> implements SandboxPort {
  readonly #life: Life
  readonly #audit: AuditLog
  readonly #store: Store

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const objects = objectsOf(env)
    this.#audit = new AuditLog({
      entries: () => auditEntries(ctx.storage),
      sandbox: () => this.#life.known.id,
      key: () => auditKeyOf(this.#life, ctx.storage.kv),
    })
    this.#store = new Store({
      values: () => storeValues(ctx.storage),
      clock: systemClock,
      transaction: (work) => ctx.storage.transactionSync(work),
    })
    this.#life = new Life({
      store: recordStore(ctx),
      objects,
      clock: systemClock,
      note: (notes) => this.#note(notes),
      background: (work) => ctx.waitUntil(work),
    })
  }

  create(input: CreateInput): Promise<Outcome<RunRecord>> {
    return outcome('create a sandbox', () => create(this.#life, input))
  }

  read(caller: Caller): Promise<Outcome<RunRecord>> {
    return outcome('read a sandbox', () => publicRecord(this.#life.usable(caller)))
  }

  route(caller: Caller): Promise<Outcome<Route>> {
    return outcome('find a sandbox', () => routeTo(this.#life, caller))
  }

  update(caller: Caller, patch: Patch): Promise<Outcome<RunRecord>> {
    return outcome('change a sandbox', () => update(this.#life, caller, patch))
  }

  destroy(caller: Caller): Promise<Outcome<Ended>> {
    return outcome('destroy a sandbox', () => destroy(this.#life, caller))
  }

  usage(caller: Caller): Promise<Outcome<Ended>> {
    return outcome('measure a sandbox', () => usage(this.#life, caller))
  }

  consoles(caller: Caller): Promise<Outcome<readonly string[]>> {
    return outcome('list consoles', () => {
      this.#life.usable(caller)
      return this.#consoles().all()
    })
  }

  addConsole(caller: Caller, id: string): Promise<Outcome<void>> {
    return outcome('add a console', () => {
      this.#life.usable(caller)
      const consoles = this.#consoles()
      if (consoles.all().length >= mostConsoles) {
        throw new AppError('quota_exceeded', `cannot create the console: the sandbox has ${mostConsoles} already`)
      }
      consoles.add(id)
    })
  }

  removeConsole(caller: Caller, id: string): Promise<Outcome<void>> {
    return outcome('remove a console', () => {
      this.#life.mine(caller)
      this.#consoles().remove(id)
    })
  }

  portRoute(): Promise<Outcome<PortRoute>> {
    return outcome('find a port', () => portRouteTo(this.#life, this.#ports))
  }

  portSettings(caller: Caller): Promise<Outcome<Readonly<Record<number, PortSetting>>>> {
    return outcome('read ports', () => portSettings(this.#life, caller, this.#ports))
  }

  setPort(caller: Caller, port: number, change: PortRequest): Promise<Outcome<PortSetting>> {
    return outcome('set a port', () => setPort(this.#life, caller, this.#ports, port, change))
  }

  hibernate(caller: Caller): Promise<Outcome<RunRecord>> {
    return outcome('hibernate a sandbox', () => hibernate(this.#life, caller))
  }

  resume(caller: Caller): Promise<Outcome<RunRecord>> {
    return outcome('resume a sandbox', () => resume(this.#life, caller))
  }

  fork(caller: Caller, children: readonly string[], trace?: string): Promise<Outcome<Forks>> {
    return outcome('fork a sandbox', () => fork(this.#life, caller, children, this.#copied, trace))
  }

  snapshot(caller: Caller, id: string, image?: string): Promise<Outcome<Snapshot>> {
    return outcome('snapshot a sandbox', () => snapshot(this.#life, caller, id, image))
  }

  restore(input: RestoreInput): Promise<Outcome<RunRecord>> {
    return outcome('restore a sandbox', () => restore(this.#life, input))
  }

  createCheckpoint(caller: Caller, input: CheckpointInput): Promise<Outcome<CheckpointMade>> {
    return outcome('create a checkpoint', () => createCheckpoint(this.#life, caller, input))
  }

  checkpoints(caller: Caller): Promise<Outcome<readonly Checkpoint[]>> {
    return outcome('list checkpoints', () => listCheckpoints(this.#life, caller))
  }

  waitForCheckpoint(caller: Caller, id: string): Promise<Outcome<number>> {
    return outcome('wait for a checkpoint', () => waitForCheckpoint(this.#life, caller, id))
  }

  restoreCheckpoint(caller: Caller, id: string): Promise<Outcome<CheckpointRestored>> {
    return outcome('restore a checkpoint', () => restoreCheckpoint(this.#life, caller, id))
  }

  deleteCheckpoint(caller: Caller, id: string): Promise<Outcome<void>> {
    return outcome('delete a checkpoint', () => deleteCheckpoint(this.#life, caller, id))
  }

  bringImage(caller: Caller, image: string): Promise<Outcome<GuestImage>> {
    return outcome('bring an image', () => bringImage(this.#life, caller, image))
  }

  storeGet(caller: Caller, key: string): Promise<Outcome<StoredValue>> {
    return outcome('read a store', () => storeOf(this.#life, caller, this.#store).get(key))
  }

  storeApply(caller: Caller, changes: readonly StoreChange[]): Promise<Outcome<readonly boolean[]>> {
    return outcome('change a store', () => applyToStore(this.#life, caller, this.#store, changes))
  }

  storeKeys(caller: Caller, input: StoreListInput): Promise<Outcome<StoreKeys>> {
    return outcome('list a store', () => storeOf(this.#life, caller, this.#store).keys(input))
  }

  announce(input: ChildInput): Promise<Outcome<void>> {
    return outcome('announce a sandbox', () => announce(this.#life, input, this.#copied))
  }

  fill(caller: Caller, values: readonly StoreRow[]): Promise<Outcome<void>> {
    return outcome('fill a store', () => fill(this.#life, caller, this.#store, values))
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

  unreachable(runner: string, generation: number, since: number): Promise<Outcome<void>> {
    return outcome('mark a sandbox', () => markUnreachable(this.#life, runner, generation, since))
  }

  giveUp(runner: string, generation: number, confirmedAt: number): Promise<Outcome<void>> {
    return outcome('give up a sandbox', () => loseForGood(this.#life, runner, generation, confirmedAt))
  }

  evacuate(runner: string, generation: number): Promise<Outcome<RunRecord>> {
    return outcome('evacuate a sandbox', () => evacuate(this.#life, runner, generation))
  }

  note(caller: Caller, notes: readonly AuditNote[]): Promise<Outcome<void>> {
    return outcome('note calls', () => noteCalls(this.#life, this.#audit, caller, notes))
  }

  audit(caller: Caller, from: number): Promise<Outcome<AuditPage>> {
    return outcome('read an audit log', () => readAudit(this.#life, this.#audit, caller, from))
  }

  retell(account: string, version: number): Promise<Outcome<boolean>> {
    return outcome('tell the account anew', async () => {
      if (this.#life.record?.account !== account) return false
      await this.#life.retell(version)
      return true
    })
  }

  #consoles(): ConsoleIds {
    migrate(this.ctx.storage, sandboxSchema)
    return new ConsoleIds(this.ctx.storage.sql)
  }

  readonly #ports = (): PortSettings => {
    migrate(this.ctx.storage, sandboxSchema)
    return new PortSettings(this.ctx.storage.sql)
  }

  get #copied(): Copied {
    return { settings: this.#ports, store: this.#store }
  }

  #note(notes: readonly AuditNote[]): void {
    this.#audit.add(notes)
    this.#life.inBackground('seal the audit log', this.#audit.seal())
    for (const { event } of notes) {
      if (event === 'sandbox.hibernated') this.#tellConsoles('hibernated')
      if (event === 'sandbox.resumed' || event === 'checkpoint.restored') this.#tellConsoles('running')
      if (event === 'sandbox.destroyed' || event === 'sandbox.lost') this.#store.clear()
    }
  }

  /** Whoever looks at a console hears of a sleep soon; a console that is not told finds it out by itself. */
  #tellConsoles(to: 'hibernated' | 'running'): void {
    const { console } = objectsOf(this.env)
    const told = this.#consoles()
      .all()
      .map((id) => console(id).moved(to))
    this.#life.inBackground('tell the consoles', Promise.all(told))
  }

  override alarm(): Promise<void> {
    return wake(this.#life)
  }
}

/** How many consoles a sandbox has at once. */
const mostConsoles = 100

/** The table is made with the first line. */
function auditEntries(storage: DurableObjectStorage): AuditEntries {
  migrate(storage, sandboxSchema)
  return new AuditEntries(storage.sql)
}

function storeValues(storage: DurableObjectStorage): Values {
  migrate(storage, sandboxSchema)
  return new Values(storage.sql)
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
