/**
 * What each object answers to the others and to the Worker: its remote methods, as plain data. The classes in `durable/` implement
 * these; whoever calls one sees nothing else of it. Ids are plain strings here, as they cross objects; each object checks its own.
 */

import type { RunRecord } from '@portico/shared/api'
import type { SandboxEventMessage, SandboxSpec } from '@portico/shared/control'
import type { WireError } from '@portico/shared/errors'
import type { SandboxState } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import type { Outcome } from './outcome.ts'

/** Who asks: a sandbox of another account or region is answered as if it did not exist. */
export interface Caller {
  readonly account: string
  readonly region: string
}

/** Where a sandbox's calls go. */
export interface Route extends Caller {
  readonly runner: string
  readonly generation: number
}

export interface CreateInput extends Caller {
  readonly sandbox: string
  readonly spec: SandboxSpec
}

/** A sandbox with what it used: at its end, or so far. */
export interface Ended {
  readonly record: RunRecord
  readonly usage: Usage
}

/** A sandbox that its parent's runner makes, as part of a fork. */
export interface ChildInput extends Caller {
  readonly sandbox: string
  readonly parent: string
  readonly runner: string
  /** Without the environment: the runner has that from the parent. */
  readonly spec: Omit<SandboxSpec, 'env'>
}

export interface RestoreInput extends CreateInput {
  readonly snapshot: string
  readonly runner: string
}

export interface Forks {
  readonly forks: readonly RunRecord[]
  /** Why the others did not come to be. */
  readonly failed: readonly WireError[]
  readonly pauseMs: number
}

/** One sandbox. */
export interface SandboxPort {
  create(input: CreateInput): Promise<Outcome<RunRecord>>
  read(caller: Caller): Promise<Outcome<RunRecord>>
  route(caller: Caller): Promise<Outcome<Route>>
  update(caller: Caller, idleTimeout: number): Promise<Outcome<RunRecord>>
  destroy(caller: Caller): Promise<Outcome<Ended>>
  /** What it used so far. */
  usage(caller: Caller): Promise<Outcome<Ended>>
  hibernate(caller: Caller): Promise<Outcome<RunRecord>>
  resume(caller: Caller): Promise<Outcome<RunRecord>>
  /** Makes a child for each of the ids, which are new. */
  fork(caller: Caller, children: readonly string[]): Promise<Outcome<Forks>>
  /** Saves its state under a new id. */
  snapshot(caller: Caller, id: string): Promise<Outcome<Snapshot>>
  restore(input: RestoreInput): Promise<Outcome<RunRecord>>
  /** Of a child: it is about to be made, by somebody who tells how that ended with `settle`. */
  announce(input: ChildInput): Promise<Outcome<void>>
  settle(answer: CallOutcome<Created>): Promise<Outcome<RunRecord>>
  /**
   * A runner tells what happened; what comes from a runner or a generation that is not the sandbox's own changes nothing. False if a
   * call is under way that will find out by itself, so that it is to be told again should that one not come back.
   */
  event(runner: string, message: SandboxEventMessage): Promise<Outcome<boolean>>
  /** Its runner no longer has it. */
  lost(runner: string, generation: number): Promise<Outcome<void>>
  /** Whether a runner that has this generation is to keep it. */
  claims(runner: string, generation: number): Promise<boolean>
}

export interface Key {
  readonly id: string
  readonly region: string
  readonly name: string
  readonly created_at: string
  readonly revoked_at: string | null
}

/** What a key check needs. */
export interface SecretRecord {
  readonly hash: string
  readonly revoked: boolean
}

/** A snapshot as its account holds it. The machine in `spec` is what can be restored from it. */
export interface Snapshot {
  readonly id: string
  readonly region: string
  /** The sandbox that it was taken of, which may be long gone. */
  readonly run: string
  readonly runner: string
  readonly sizeBytes: number
  readonly createdAt: number
  readonly resolvedImage: string
  readonly spec: Omit<SandboxSpec, 'env'>
}

/** A sandbox as its account's index holds it. A higher version replaces a lower one. */
export interface IndexEntry {
  readonly version: number
  readonly state: SandboxState
  readonly record: RunRecord
  readonly createdAt: number
  readonly endedAt: number | null
  readonly usage: Usage | null
}

export interface Account {
  readonly id: string
  readonly name: string
  readonly created_at: string
}

/** One account. */
export interface AccountPort {
  open(account: Account): Promise<void>
  read(): Promise<Account | null>
  addKey(key: Key, hash: string): Promise<Outcome<void>>
  keys(): Promise<Outcome<Key[]>>
  revokeKey(id: string, at: string): Promise<Outcome<Key>>
  key(id: string): Promise<SecretRecord | null>
  index(entry: IndexEntry): Promise<void>
  /** Sandboxes that are not destroyed, newest first. */
  active(region: string): Promise<RunRecord[]>
  /** Notes a snapshot before its runner hears of it; until it is kept it is not shown, and what is not kept is removed from the runner later. */
  beginSnapshot(snapshot: Omit<Snapshot, 'sizeBytes'>): Promise<Outcome<void>>
  keepSnapshot(id: string, sizeBytes: number): Promise<Outcome<Snapshot>>
  /** Forgets a snapshot that its runner does not have. */
  dropSnapshot(id: string): Promise<void>
  /** Newest first. */
  snapshots(region: string): Promise<Snapshot[]>
  snapshot(region: string, id: string): Promise<Outcome<Snapshot>>
  /** Has the runner delete it and then forgets it. */
  deleteSnapshot(region: string, id: string): Promise<Outcome<void>>
}

/** The accounts of this platform. */
export interface DirectoryPort {
  add(account: Account): Promise<void>
  list(): Promise<Account[]>
}

export interface RunnerInfo {
  readonly id: string
  readonly region: string
  readonly name: string
  readonly created_at: string
  readonly connected: boolean
  readonly draining: boolean
  readonly version: string | null
  readonly accelerator: string | null
  readonly vcpus: number | null
  readonly free_mem_mib: number | null
  readonly free_slots: number | null
  readonly images: string[]
  readonly sandboxes: number
  readonly seen_at: string | null
}

/** What a runner says of itself. */
export interface RunnerReport {
  readonly version: string
  readonly accelerator: string
  readonly draining: boolean
  readonly vcpus: number
  readonly free_mem_mib: number
  readonly free_slots: number
  readonly images: readonly string[]
  /** Ids of the sandboxes that its free room already accounts for. */
  readonly sandboxes: readonly string[]
}

export interface PlaceInput {
  readonly region: string
  readonly sandbox: string
  readonly image: string
  readonly memMib: number
  /** Runners that have refused already. */
  readonly avoid: readonly string[]
}

export interface ReserveInput {
  readonly region: string
  readonly runner: string
  readonly sandboxes: readonly string[]
  /** Of each of them. */
  readonly memMib: number
}

/** One region: its runners and what is still free on them. */
export interface RegionPort {
  addRunner(id: string, region: string, name: string, hash: string, at: string): Promise<void>
  runner(id: string): Promise<SecretRecord | null>
  runners(): Promise<RunnerInfo[]>
  images(): Promise<string[]>
  /** Chooses a runner and reserves room on it until the runner reports the sandbox itself, or `release`. */
  place(input: PlaceInput): Promise<Outcome<string>>
  /** Reserves room on this runner for as many of the sandboxes as fit, and answers how many: the first so many of the list have it. */
  reserve(input: ReserveInput): Promise<Outcome<number>>
  release(sandbox: string): Promise<void>
  report(runner: string, tunnel: string, at: number, report: RunnerReport): Promise<void>
  disconnected(runner: string, tunnel: string): Promise<void>
}

/**
 * How far a control call came: `not_sent` may be asked again or elsewhere, `answered` is the runner's own refusal, and after `unknown`
 * the runner may or may not have done it.
 */
export type Reached = 'not_sent' | 'answered' | 'unknown'

/** A control call's end. */
export type CallOutcome<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: WireError; readonly reached: Reached }

/** Whether a runner has refused because it does not have the sandbox, or not in this generation. */
export function isGone(failed: { readonly error: WireError; readonly reached: Reached }): boolean {
  return failed.reached === 'answered' && (failed.error.code === 'sandbox_not_found' || failed.error.code === 'moved')
}

export interface Created {
  readonly resolvedImage: string
  readonly createMs: number
}

/** One entry per child, in the order asked. */
export interface Forked {
  readonly resolvedImage: string
  readonly pauseMs: number
  readonly children: readonly {
    readonly sandbox: string
    readonly createMs: number
    readonly error: WireError | null
  }[]
}

/** One runner: what the edge asks of it. Guest requests go through `fetch` instead, as they carry bodies. */
export interface RunnerPort {
  create(sandbox: string, generation: number, spec: SandboxSpec): Promise<CallOutcome<Created>>
  update(sandbox: string, generation: number, idleTimeout: number): Promise<CallOutcome<null>>
  destroy(sandbox: string, generation: number): Promise<CallOutcome<Usage>>
  stats(sandbox: string, generation: number): Promise<CallOutcome<Usage>>
  /** Answers with the usage up to the hibernation. */
  hibernate(sandbox: string, generation: number): Promise<CallOutcome<Usage>>
  resume(sandbox: string, generation: number): Promise<CallOutcome<null>>
  /** The children are of generation 1. Asked again with the same children, it answers the same. */
  fork(sandbox: string, generation: number, children: readonly string[]): Promise<CallOutcome<Forked>>
  /** Answers with its size. Asked again with the same id, it answers the same. */
  snapshot(sandbox: string, generation: number, id: string): Promise<CallOutcome<number>>
  restore(sandbox: string, generation: number, snapshot: string, spec: SandboxSpec): Promise<CallOutcome<Created>>
  deleteSnapshot(id: string): Promise<CallOutcome<null>>
  /** The tunnel in force, or null when the runner is not connected. */
  tunnel(): Promise<string | null>
}

/** Finds the other objects. */
export interface Objects {
  sandbox(id: string): SandboxPort
  account(id: string): AccountPort
  region(name: string): RegionPort
  runner(id: string): RunnerPort
  directory(): DirectoryPort
}
