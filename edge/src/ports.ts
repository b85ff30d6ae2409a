/**
 * What each object answers to the others and to the Worker: its remote methods, as plain data. The classes in `durable/` implement
 * these; whoever calls one sees nothing else of it. Ids are plain strings here, as they cross objects; each object checks its own.
 */

import type {
  AccountLimits,
  AccountUsage,
  AdminKey,
  ConsoleRecord,
  DeliveryList,
  History,
  ImageRecord,
  ImageRequest,
  KeyScope,
  PortAccess,
  PortHost,
  PortRequest,
  RunList,
  RunnerDrainMode,
  RunnerRecord,
  RunRecord,
  RunStatus,
  SigningKey,
  StoreKeys,
  Webhook,
  WebhookEvent,
} from '@portico/shared/api'
import type { RunnerPolicy, SandboxEventMessage, SandboxSpec } from '@portico/shared/control'
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

/** Who may reach a port by its public URL, and as what; `version` rises with each change, which ends all links. */
export interface PortSetting {
  readonly access: PortAccess
  readonly host: PortHost
  readonly version: number
}

/** Where the requests to a sandbox's ports go. Ports that were never set are not in `settings`: open to whoever knows the URL. */
export interface PortRoute extends Route {
  readonly settings: Readonly<Record<number, PortSetting>>
}

/** What a caller calls a sandbox. */
export interface Marks {
  readonly name: string | null
  readonly labels: Readonly<Record<string, string>>
}

export interface CreateInput extends Caller {
  readonly sandbox: string
  /** The `traceparent` under which the runner's span stands. */
  readonly trace?: string | undefined
  readonly spec: SandboxSpec
  /** What its runner is asked to boot, where `spec.image` is a name of the account's own. */
  readonly boots?: string | undefined
  readonly marks?: Marks
}

/** What `PATCH` changes; what is not given stays. */
export interface Patch {
  readonly idleTimeout?: number
  readonly name?: string | null
  readonly labels?: Readonly<Record<string, string>>
}

/** A line of a sandbox's audit log before it has its place in the chain. */
export interface AuditNote {
  readonly event: string
  /** When it happened, in milliseconds. */
  readonly at: number
  readonly data: Readonly<Record<string, unknown>>
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
  readonly labels?: Readonly<Record<string, string>>
  /** Its parent's: what was private there is private here. */
  readonly ports: Readonly<Record<number, PortSetting>>
  /** Its parent's store, or the beginning of it: the rest comes with `fill`. */
  readonly store: readonly StoreRow[]
}

export interface RestoreInput extends CreateInput {
  readonly snapshot: string
  readonly runner: string
}

export interface CheckpointInput {
  readonly id: string
  readonly name: string
  /** To answer once it is on the disk for good. */
  readonly wait: boolean
}

export interface CheckpointMade {
  readonly createdAt: string
  readonly sizeBytes: number
  readonly copyMs: number
  readonly pauseMs: number
  readonly ready: boolean
}

export interface Checkpoint {
  readonly id: string
  readonly name: string
  readonly createdAt: string
  readonly sizeBytes: number
  readonly ready: boolean
}

export interface CheckpointRestored {
  readonly restoreMs: number
  readonly started: readonly string[]
  readonly stopped: readonly string[]
  readonly failed: readonly string[]
}

/** What a container of an image starts with. */
export interface GuestImage {
  readonly digest: string
  readonly env: Readonly<Record<string, string>>
  readonly workdir: string
}

/** A value of a sandbox's store: JSON text, and when it expires, in milliseconds; null is never. */
export interface StoredValue {
  readonly json: string
  readonly expiresAt: number | null
}

export interface StoreRow extends StoredValue {
  readonly key: string
}

/** `json` null deletes. */
export interface StoreChange {
  readonly key: string
  readonly json: string | null
  readonly ttlSeconds: number | null
}

export interface StoreListInput {
  readonly prefix: string
  readonly limit: number
  /** Names after this one. */
  readonly after: string | null
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
  update(caller: Caller, patch: Patch): Promise<Outcome<RunRecord>>
  destroy(caller: Caller): Promise<Outcome<Ended>>
  /** What it used so far. */
  usage(caller: Caller): Promise<Outcome<Ended>>
  /** For whoever knows its id: where its ports are. One that is over is answered as one that never was. */
  portRoute(): Promise<Outcome<PortRoute>>
  portSettings(caller: Caller): Promise<Outcome<Readonly<Record<number, PortSetting>>>>
  setPort(caller: Caller, port: number, change: PortRequest): Promise<Outcome<PortSetting>>
  /** Its consoles' ids, oldest first. */
  consoles(caller: Caller): Promise<Outcome<readonly string[]>>
  addConsole(caller: Caller, id: string): Promise<Outcome<void>>
  removeConsole(caller: Caller, id: string): Promise<Outcome<void>>
  hibernate(caller: Caller): Promise<Outcome<RunRecord>>
  resume(caller: Caller): Promise<Outcome<RunRecord>>
  /** Makes a child for each of the ids, which are new. */
  fork(caller: Caller, children: readonly string[], trace?: string): Promise<Outcome<Forks>>
  /** Saves its state under a new id; `image` is the image that it is the substance of. */
  snapshot(caller: Caller, id: string, image?: string): Promise<Outcome<Snapshot>>
  restore(input: RestoreInput): Promise<Outcome<RunRecord>>
  /** Keeps its files of this moment under a new id. */
  createCheckpoint(caller: Caller, input: CheckpointInput): Promise<Outcome<CheckpointMade>>
  /** Oldest first. */
  checkpoints(caller: Caller): Promise<Outcome<readonly Checkpoint[]>>
  /** Answers with its size once it is on the disk for good. */
  waitForCheckpoint(caller: Caller, id: string): Promise<Outcome<number>>
  restoreCheckpoint(caller: Caller, id: string): Promise<Outcome<CheckpointRestored>>
  deleteCheckpoint(caller: Caller, id: string): Promise<Outcome<void>>
  /** Has an image brought into it for its container services. */
  bringImage(caller: Caller, image: string): Promise<Outcome<GuestImage>>
  storeGet(caller: Caller, key: string): Promise<Outcome<StoredValue>>
  /** All of the changes or none; answers for each whether there was a value before. */
  storeApply(caller: Caller, changes: readonly StoreChange[]): Promise<Outcome<readonly boolean[]>>
  storeKeys(caller: Caller, input: StoreListInput): Promise<Outcome<StoreKeys>>
  /** Of a child: it is about to be made, by somebody who tells how that ended with `settle`. */
  announce(input: ChildInput): Promise<Outcome<void>>
  /** Of a child that was announced: more of what its parent's store holds. */
  fill(caller: Caller, values: readonly StoreRow[]): Promise<Outcome<void>>
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
  /** Its runner has been away for too long; the runner's next word of the sandbox ends that. */
  unreachable(runner: string, generation: number, since: number): Promise<Outcome<void>>
  /** Its runner was given up: the end, as of the last moment that the runner confirmed. */
  giveUp(runner: string, generation: number, confirmedAt: number): Promise<Outcome<void>>
  /** The operator empties its runner: it is hibernated whoever owns it. */
  evacuate(runner: string, generation: number): Promise<Outcome<RunRecord>>
  /** Adds to the audit log. */
  note(caller: Caller, notes: readonly AuditNote[]): Promise<Outcome<void>>
  /** Lines of NDJSON from this place on, at most a page of them; of a sandbox that is over, too. */
  audit(caller: Caller, from: number): Promise<Outcome<AuditPage>>
  /** Its account's index has this version: tells it again if that is not the last. False if there is no such sandbox of this account. */
  retell(account: string, version: number): Promise<Outcome<boolean>>
}

export interface AuditPage {
  readonly lines: readonly string[]
  /** Where the next page begins; null after the last line. */
  readonly next: number | null
  /** Of the whole log as it is now: how many lines there are, and the seal of the last one. */
  readonly entries: number
  readonly last: string | null
}

/** What a key may do. */
export type Scope = KeyScope

/** A key without its secret, as the operator sees it. */
export type Key = Readonly<AdminKey>

/** What a token check needs. */
export interface SecretRecord {
  readonly hash: string
  readonly revoked: boolean
}

/** What a key check needs, and what an isolate has to know of the account to serve it. */
export interface KeyRecord extends SecretRecord {
  readonly scope: Scope
  /** Milliseconds; null is never. */
  readonly expiresAt: number | null
  readonly requestsPerSecond: number | null
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
  /** The image that is made of it, and goes with it; such a one is not among the account's snapshots. */
  readonly image?: string | undefined
}

/** What happened to a sandbox, for its account's webhooks. `version` is the record's; an event that was taken already is not taken twice. */
export interface Happening {
  readonly version: number
  readonly event: WebhookEvent
  readonly at: number
}

/** A sandbox as its account's index holds it. A higher version replaces a lower one. */
export interface IndexEntry {
  readonly version: number
  readonly state: SandboxState
  readonly record: RunRecord
  readonly createdAt: number
  readonly endedAt: number | null
  /** The last figures; what ran since `runningSince` is not in them. */
  readonly usage: Usage | null
  readonly runningSince: number | null
  /** What happened since the index was last told. */
  readonly happenings: readonly Happening[]
}

/** Room for sandboxes that are about to be made or woken. */
export interface AdmitInput {
  /** Completes "cannot …". */
  readonly action: string
  /** Of the same shape each. */
  readonly sandboxes: readonly string[]
  readonly vcpus: number
  readonly memMib: number
  /** What the sandbox is made of, as its creator wrote it: where that is an image of the account, the answer tells, and the room is for its machine. */
  readonly image?: { readonly region: string; readonly name: string } | undefined
}

/** What a sandbox of an image of the account is made of. */
export type OwnImage =
  | { readonly kind: 'pull'; readonly boots: string }
  | { readonly kind: 'build'; readonly snapshot: Snapshot }

/** An image as its account's index holds it. A higher version replaces a lower one. */
export interface ImageEntry {
  readonly id: string
  readonly region: string
  readonly version: number
  readonly record: ImageRecord
  readonly createdAt: number
  /** What was asked for, where it was pulled. */
  readonly asked: string | null
  /** What a built one is restored from. */
  readonly snapshot: string | null
}

export interface InUse {
  readonly sandboxes: number
  readonly vcpus: number
  readonly mem_mib: number
  readonly snapshots: number
}

/** A creating call with an `Idempotency-Key`. */
export interface IdempotentInput {
  readonly key: string
  /** Of method, path and body: the same key with another request is refused. */
  readonly fingerprint: string
  /** Ids for what the call makes: those that the first call brought are used by every repetition. */
  readonly ids: readonly string[]
}

/** `first`: go on with these ids. `again`: the first call never answered, go on with its ids. `done`: this was its answer. */
export type Idempotent =
  | { readonly kind: 'first' | 'again'; readonly ids: readonly string[] }
  | { readonly kind: 'done'; readonly status: number; readonly body: string }

export interface ListInput {
  readonly region: string
  readonly states?: readonly RunStatus[]
  readonly name?: string
  /** All of them must be there. */
  readonly labels?: Readonly<Record<string, string>>
  readonly limit?: number
  readonly cursor?: string
}

export interface NewWebhook {
  readonly id: string
  readonly url: string
  readonly events: readonly WebhookEvent[]
  readonly secret: string
  readonly createdAt: number
}

export interface HistoryInput {
  readonly region: string
  readonly limit?: number
  readonly cursor?: string
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
  /** Also notes that it was used. */
  key(id: string): Promise<KeyRecord | null>
  limits(): Promise<Outcome<{ limits: AccountLimits; in_use: InUse }>>
  /** What is not given stays. */
  setLimits(patch: Partial<AccountLimits>): Promise<Outcome<AccountLimits>>
  /** Keeps room for these sandboxes until the index knows them, or refuses with `quota_exceeded` having kept none. */
  admit(input: AdmitInput): Promise<Outcome<OwnImage | undefined>>
  /** Gives back what `admit` kept for sandboxes that did not come to be. */
  dismiss(sandboxes: readonly string[]): Promise<void>
  /** Takes up to so many requests out of the account's bucket and answers how many it got. */
  lease(requests: number): Promise<number>
  /** Refuses with `idempotency_mismatch` or `idempotency_pending`. */
  beginOnce(input: IdempotentInput): Promise<Outcome<Idempotent>>
  /** Keeps the first answer for 24 h. */
  endOnce(key: string, status: number, body: string): Promise<void>
  /** The call failed in a way that a repetition may mend: it is forgotten. */
  forgetOnce(key: string): Promise<void>
  /** Nobody knows how the call ended: the next repetition goes on with its ids at once. */
  suspendOnce(key: string): Promise<void>
  index(entry: IndexEntry): Promise<void>
  /** Sandboxes that are not over, newest first. */
  list(input: ListInput): Promise<Outcome<RunList>>
  history(input: HistoryInput): Promise<Outcome<History>>
  usage(): Promise<AccountUsage>
  /** What the account's audit logs are sealed with, in hex; made when it is first asked for. */
  auditKey(): Promise<Outcome<string>>
  addWebhook(webhook: NewWebhook): Promise<Outcome<Webhook>>
  webhooks(): Promise<Webhook[]>
  webhook(id: string): Promise<Outcome<Webhook>>
  /** What was not delivered yet is dropped. */
  removeWebhook(id: string): Promise<Outcome<void>>
  deliveries(webhook: string): Promise<Outcome<DeliveryList>>
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
  /** Notes an image that is about to be pulled or built, or refuses with `quota_exceeded`. */
  beginImage(entry: ImageEntry): Promise<Outcome<void>>
  /** What became of an image. One that is ready takes its name over. False if the account has no such image any more. */
  tellImage(entry: ImageEntry): Promise<Outcome<boolean>>
  /** Newest first. */
  images(region: string): Promise<ImageRecord[]>
  /** By its id, or by a name that leads to it. */
  image(region: string, named: string): Promise<Outcome<ImageRecord>>
  /** Forgets it, and has what it is made of removed; answers what it was. */
  deleteImage(region: string, named: string): Promise<Outcome<ImageRecord>>
}

/** The accounts of this platform. */
export interface DirectoryPort {
  add(account: Account): Promise<void>
  list(): Promise<Account[]>
}

/** A runner as the operator sees it. */
export type RunnerInfo = Readonly<RunnerRecord>

export type DrainMode = RunnerDrainMode

/** How far a drain by the operator is. */
export type DrainState = NonNullable<RunnerInfo['drain']>

/** What a runner says of itself. */
export interface RunnerReport {
  readonly version: string
  readonly accelerator: string
  readonly draining: boolean
  readonly vcpus: number
  readonly total_mem_mib: number
  readonly free_mem_mib: number
  readonly free_vcpus?: number | undefined
  readonly free_slots: number
  readonly load: number
  readonly images: readonly string[]
  readonly warm: Readonly<Record<string, number>>
  /** Of a runner that states none: the platform's own defaults, and nothing but its list of images. */
  readonly policy?: RunnerPolicy | undefined
  readonly generation: number
  readonly sockets: number
  /** Ids of sandboxes that its free room already accounts for: all of those that room may still be promised to. */
  readonly sandboxes: readonly string[]
  /** How many it has; as many as are named unless stated. */
  readonly held?: number
}

export interface PlaceInput {
  readonly region: string
  readonly sandbox: string
  readonly image: string
  readonly memMib: number
  readonly vcpus: number
  /** Runners that have refused already. */
  readonly avoid: readonly string[]
}

export interface ReserveInput {
  readonly region: string
  readonly runner: string
  readonly sandboxes: readonly string[]
  /** Of each of them. */
  readonly memMib: number
  readonly vcpus: number
}

/** One region: its runners and what is still free on them. */
export interface RegionPort {
  addRunner(id: string, region: string, name: string, hash: string, at: string): Promise<void>
  runner(id: string): Promise<SecretRecord | null>
  runners(): Promise<RunnerInfo[]>
  /** One of them; null if it is not of this region. */
  info(runner: string): Promise<RunnerInfo | null>
  images(): Promise<string[]>
  /** What its connected runners let callers boot, and give to those who say nothing: the defaults of the first that states them, the catalogs of all. Null if none does. */
  policy(): Promise<RunnerPolicy | null>
  /** A connected runner that an image may be pulled to; nothing is reserved. */
  /** `avoid` are runners that have refused already. */
  puller(reference: string, avoid?: readonly string[]): Promise<Outcome<string>>
  /** Chooses a runner and reserves room on it until the runner reports the sandbox itself, or `release`. */
  place(input: PlaceInput): Promise<Outcome<string>>
  /** Reserves room on this runner for as many of the sandboxes as fit, and answers how many: the first so many of the list have it. */
  reserve(input: ReserveInput): Promise<Outcome<number>>
  release(sandbox: string): Promise<void>
  report(runner: string, tunnel: string, at: number, report: RunnerReport): Promise<void>
  disconnected(runner: string, tunnel: string): Promise<void>
  /** The runner was not there when it was asked at this moment (of its object's clock): it is not chosen until it reports again. */
  silent(runner: string, at: number): Promise<void>
  /** No new sandboxes go there. */
  drain(runner: string, mode: DrainMode): Promise<Outcome<RunnerInfo>>
  undrain(runner: string): Promise<Outcome<RunnerInfo>>
  /**
   * Forgets the runner and refuses its token from now on. One that still has sandboxes is only removed as lost: they end as of the last
   * moment that it confirmed. Answers how many they were.
   */
  remove(runner: string, lost: boolean): Promise<Outcome<number>>
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
  create(sandbox: string, generation: number, spec: SandboxSpec, trace?: string): Promise<CallOutcome<Created>>
  update(sandbox: string, generation: number, idleTimeout: number): Promise<CallOutcome<null>>
  destroy(sandbox: string, generation: number): Promise<CallOutcome<Usage>>
  stats(sandbox: string, generation: number): Promise<CallOutcome<Usage>>
  /** Answers with the usage up to the hibernation. */
  hibernate(sandbox: string, generation: number): Promise<CallOutcome<Usage>>
  resume(sandbox: string, generation: number): Promise<CallOutcome<null>>
  /** The children are of generation 1. Asked again with the same children, it answers the same. */
  fork(sandbox: string, generation: number, children: readonly string[], trace?: string): Promise<CallOutcome<Forked>>
  /** Answers with its size. Asked again with the same id, it answers the same. */
  snapshot(sandbox: string, generation: number, id: string): Promise<CallOutcome<number>>
  restore(
    sandbox: string,
    generation: number,
    snapshot: string,
    spec: SandboxSpec,
    trace?: string,
  ): Promise<CallOutcome<Created>>
  deleteSnapshot(id: string): Promise<CallOutcome<null>>
  /** Asked again with the same id, it answers the same. */
  createCheckpoint(
    sandbox: string,
    generation: number,
    input: CheckpointInput & { readonly createdAt: string },
  ): Promise<CallOutcome<CheckpointMade>>
  checkpoints(sandbox: string, generation: number): Promise<CallOutcome<readonly Checkpoint[]>>
  waitForCheckpoint(sandbox: string, generation: number, id: string): Promise<CallOutcome<number>>
  restoreCheckpoint(sandbox: string, generation: number, id: string): Promise<CallOutcome<CheckpointRestored>>
  deleteCheckpoint(sandbox: string, generation: number, id: string): Promise<CallOutcome<null>>
  bringImage(sandbox: string, generation: number, image: string): Promise<CallOutcome<GuestImage>>
  /** The tunnel in force, or null when the runner is not connected. */
  tunnel(): Promise<string | null>
  /** How many sandboxes it was given, by what their objects were last told. */
  holds(): Promise<{ running: number; hibernated: number }>
  /** Hibernates what runs there, some at a time, until there is nothing left to hibernate or the drain is taken back. */
  evacuate(mode: DrainMode | null): Promise<void>
  /** Ends the connection for good; given up as lost, its sandboxes are told, some at a time. Answers how many they are. */
  remove(lost: boolean): Promise<number>
}

/** A console, terminal or shell that is to be opened; `start` is what the agent is asked. */
export interface NewConsole extends Caller {
  readonly id: string
  readonly kind: 'console' | 'terminal' | 'shell'
  readonly run: string
  readonly name: string | null
  readonly cols: number
  readonly rows: number
  /** How long it lives without a socket; null is until it is deleted. */
  readonly lingerMs: number | null
  readonly start: object
}

/** One console. Sockets join it through `fetch`. One of another sandbox or account is answered as if it did not exist. */
export interface ConsolePort {
  /** Starts its process. */
  open(input: NewConsole): Promise<Outcome<ConsoleRecord>>
  describe(caller: Caller, run: string): Promise<Outcome<ConsoleRecord>>
  /** Ends its process and forgets it. */
  end(caller: Caller, run: string): Promise<Outcome<void>>
  /** Its sandbox fell asleep or woke: it need not find that out by itself. */
  moved(to: 'hibernated' | 'running'): Promise<Outcome<void>>
}

/** What a data-plane token says: whose sandbox it opens. */
export interface TokenSubject extends Caller {
  readonly sandbox: string
}

export interface SignedToken {
  readonly token: string
  /** Seconds since 1970. */
  readonly expiresAt: number
}

/** The public half of a signing key, as RFC 7517 has it. */
export interface PublicSigningKey {
  readonly kty: 'RSA'
  readonly kid: string
  readonly alg: 'RS256'
  readonly use: 'sig'
  readonly n: string
  readonly e: string
}

/** The platform's signing keys: one object, as every front door must know the same ones. */
export interface KeyringPort {
  /** Signs a data-plane token; the first one ever makes the first key. */
  sign(subject: TokenSubject, seconds: number): Promise<Outcome<SignedToken>>
  /** Of every key whose tokens may still count. */
  published(): Promise<Outcome<readonly PublicSigningKey[]>>
  list(): Promise<Outcome<readonly SigningKey[]>>
  /** A new key signs from now on. Answers all keys. */
  rotate(): Promise<Outcome<readonly SigningKey[]>>
}

export interface NewImage extends Caller {
  readonly image: string
  readonly request: ImageRequest
  /** What of a build's machine was asked for: the rest is that of the image which it begins from, if that has one. */
  readonly machine?: { readonly vcpus?: number; readonly mem_mib?: number; readonly disk_mib?: number }
}

/** One image of an account. Its events are read through `fetch`. */
export interface ImagePort {
  /** Begins to pull or build it. Asked again it answers how it is. */
  begin(input: NewImage): Promise<Outcome<ImageRecord>>
  /** Cancels what is under way and forgets it; its account has forgotten it already. */
  drop(account: string): Promise<void>
}

/** Finds the other objects. */
export interface Objects {
  keyring(): KeyringPort
  console(id: string): ConsolePort
  /** `region` where the sandbox is about to be made, for its place on the map. */
  sandbox(id: string, region?: string): SandboxPort
  account(id: string): AccountPort
  region(name: string): RegionPort
  runner(id: string): RunnerPort
  directory(): DirectoryPort
  image(id: string, region?: string): ImagePort
}
