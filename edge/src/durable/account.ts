/** One account: its keys, the index of its sandboxes, and its snapshots. It exists once it was opened; nothing is written for an id that was not. */

import { DurableObject } from 'cloudflare:workers'
import type {
  AccountLimits,
  AccountUsage,
  DeliveryList,
  History,
  ImageRecord,
  RunList,
  Webhook,
} from '@portico/shared/api'
import { systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { type Bucket, fullBucket, take } from '../account/bucket.ts'
import { beginOnce, suspendOnce } from '../account/idempotency.ts'
import { dropAgainMs, tellDrops } from '../account/image-drops.ts'
import {
  beginImage,
  type Dropped,
  deleteImage,
  findImage,
  ownImage,
  replacesBuild,
  tellImage,
} from '../account/images.ts'
import { defaultLimits, noLimits } from '../account/limits.ts'
import { admit, assertSnapshotRoom } from '../account/quotas.ts'
import { deriveAuditKey } from '../audit/key.ts'
import { type Env, signingSecret } from '../env.ts'
import { accountUsage } from '../listing/account-usage.ts'
import { historyPage, listPage } from '../listing/pages.ts'
import { recheck, silentMs } from '../listing/recheck.ts'
import { type Outcome, outcome } from '../outcome.ts'
import type {
  Account,
  AccountPort,
  AdmitInput,
  HistoryInput,
  Idempotent,
  IdempotentInput,
  ImageEntry,
  IndexEntry,
  InUse,
  Key,
  KeyRecord,
  ListInput,
  NewWebhook,
  OwnImage,
  Snapshot,
} from '../ports.ts'
import { ratesOf } from '../rates.ts'
import { deleteSnapshot, findSnapshot, pendingMs, sweepSnapshots } from '../snapshot/kept.ts'
import { DeliveryTable } from '../store/deliveries.ts'
import { IdempotencyTable } from '../store/idempotency.ts'
import { ImageTable } from '../store/images.ts'
import { KeyTable } from '../store/keys.ts'
import { MachineTable } from '../store/machines.ts'
import { accountSchema, migrate } from '../store/migrations.ts'
import { SandboxIndex } from '../store/sandbox-index.ts'
import { SnapshotTable } from '../store/snapshots.ts'
import { publicWebhook, WebhookTable } from '../store/webhooks.ts'
import { addWebhook, deliveryLog, findWebhook, removeWebhook } from '../webhook/hooks.ts'
import { Outbox } from '../webhook/outbox.ts'
import { Agenda, type Job } from './agenda.ts'
import { objectsOf } from './objects.ts'

interface Tables {
  readonly keys: KeyTable
  readonly machines: MachineTable
  readonly calls: IdempotencyTable
  readonly sandboxes: SandboxIndex
  readonly snapshots: SnapshotTable
  readonly images: ImageTable
  readonly webhooks: WebhookTable
  readonly deliveries: DeliveryTable
  readonly outbox: Outbox
  readonly agenda: Agenda
}

export class AccountObject extends DurableObject<Env> implements AccountPort {
  #tables: Tables | undefined
  /** Of requests. In memory alone. */
  #bucket: Bucket | undefined

  async open(account: Account): Promise<void> {
    migrate(this.ctx.storage, accountSchema)
    const { kv } = this.ctx.storage
    if (kv.get('limits') === undefined) kv.put('limits', defaultLimits(this.env))
    kv.put('account', account)
  }

  async read(): Promise<Account | null> {
    return this.ctx.storage.kv.get<Account>('account') ?? null
  }

  addKey(key: Key, hash: string): Promise<Outcome<void>> {
    return outcome('add a key', () => this.#opened().keys.add(key, hash))
  }

  keys(): Promise<Outcome<Key[]>> {
    return outcome('list keys', () => this.#opened().keys.list())
  }

  revokeKey(id: string, at: string): Promise<Outcome<Key>> {
    return outcome('revoke a key', () => {
      const key = this.#opened().keys.revoke(id, at)
      if (key === undefined) throw new AppError('not_found', 'cannot revoke the key: the account has no such key')
      return key
    })
  }

  async key(id: string): Promise<KeyRecord | null> {
    const tables = this.#find()
    const record = tables?.keys.check(id) ?? null
    if (tables === undefined || record === null) return null
    const now = systemClock.now()
    if (!record.revoked && (record.expiresAt === null || record.expiresAt > now)) tables.keys.used(id, now)
    return { ...record, requestsPerSecond: this.#limits().requests_per_second }
  }

  limits(): Promise<Outcome<{ limits: AccountLimits; in_use: InUse }>> {
    return outcome('read the limits', () => {
      const in_use = this.#opened().machines.inUse(systemClock.now())
      return { limits: this.#limits(), in_use }
    })
  }

  setLimits(patch: Partial<AccountLimits>): Promise<Outcome<AccountLimits>> {
    return outcome('change the limits', () => {
      this.#opened()
      const limits = { ...this.#limits(), ...patch }
      this.ctx.storage.kv.put('limits', limits)
      return limits
    })
  }

  admit(input: AdmitInput): Promise<Outcome<OwnImage | undefined>> {
    return outcome('admit a sandbox', () => {
      const tables = this.#opened()
      const own = input.image === undefined ? undefined : ownImage(tables, input.image.region, input.image.name)
      const { vcpus, mem_mib: memMib } = own?.kind === 'build' ? own.snapshot.spec : { ...input, mem_mib: input.memMib }
      admit(tables.machines, this.#limits(), { ...input, vcpus, memMib }, systemClock.now())
      return own
    })
  }

  async dismiss(sandboxes: readonly string[]): Promise<void> {
    for (const sandbox of sandboxes) this.#find()?.machines.drop(sandbox)
  }

  async lease(requests: number): Promise<number> {
    const perSecond = this.#limits().requests_per_second
    if (perSecond === null) return requests
    const now = systemClock.now()
    const { bucket, got } = take(this.#bucket ?? fullBucket(perSecond, now), perSecond, requests, now)
    this.#bucket = bucket
    return got
  }

  beginOnce(input: IdempotentInput): Promise<Outcome<Idempotent>> {
    return outcome('begin a call', () => beginOnce(this.#opened().calls, input, systemClock.now()))
  }

  async endOnce(key: string, status: number, body: string): Promise<void> {
    this.#find()?.calls.end(key, status, body, systemClock.now())
  }

  async forgetOnce(key: string): Promise<void> {
    this.#find()?.calls.forget(key)
  }

  async suspendOnce(key: string): Promise<void> {
    const calls = this.#find()?.calls
    if (calls !== undefined) suspendOnce(calls, key, systemClock.now())
  }

  async index(entry: IndexEntry): Promise<void> {
    const { machines, sandboxes, outbox, agenda } = this.#opened()
    const now = systemClock.now()
    const made = this.ctx.storage.transactionSync(() => {
      const since = sandboxes.put(entry, now)
      machines.indexed(entry.record.id, entry.state)
      return outbox.take(entry, since)
    })
    await agenda.notLaterThan(made > 0 ? now : now + silentMs)
  }

  list(input: ListInput): Promise<Outcome<RunList>> {
    return outcome('list sandboxes', () => listPage(this.#find()?.sandboxes, input))
  }

  history(input: HistoryInput): Promise<Outcome<History>> {
    return outcome('list the history', () => historyPage(this.#find()?.sandboxes, input, ratesOf(this.env)))
  }

  async usage(): Promise<AccountUsage> {
    return accountUsage(this.#find()?.sandboxes, ratesOf(this.env), systemClock.now())
  }

  auditKey(): Promise<Outcome<string>> {
    return outcome('find the audit key', async () => {
      this.#opened()
      const { kv } = this.ctx.storage
      const known = kv.get<string>('audit-key')
      if (known !== undefined) return known
      const key = await deriveAuditKey(signingSecret(this.env), kv.get<Account>('account')?.id ?? '')
      kv.put('audit-key', key)
      return key
    })
  }

  addWebhook(webhook: NewWebhook): Promise<Outcome<Webhook>> {
    return outcome('add a webhook', () => addWebhook(this.#opened().webhooks, webhook))
  }

  async webhooks(): Promise<Webhook[]> {
    return this.#find()?.webhooks.list().map(publicWebhook) ?? []
  }

  webhook(id: string): Promise<Outcome<Webhook>> {
    return outcome('find a webhook', () => findWebhook(this.#find()?.webhooks, id))
  }

  removeWebhook(id: string): Promise<Outcome<void>> {
    return outcome('remove a webhook', () => removeWebhook(this.#find()?.webhooks, this.#find()?.deliveries, id))
  }

  deliveries(webhook: string): Promise<Outcome<DeliveryList>> {
    return outcome('list deliveries', () => deliveryLog(this.#find()?.webhooks, this.#find()?.deliveries, webhook))
  }

  beginSnapshot(snapshot: Omit<Snapshot, 'sizeBytes'>): Promise<Outcome<void>> {
    return outcome('begin a snapshot', async () => {
      const { machines, snapshots, images, agenda } = this.#opened()
      const image = snapshot.image === undefined ? undefined : images.get(snapshot.image)
      if (snapshot.image !== undefined && image === undefined) {
        throw new AppError('conflict', 'cannot snapshot the sandbox: its image was deleted meanwhile')
      }
      const replaces = image !== undefined && replacesBuild(images, image)
      assertSnapshotRoom(machines, snapshots, this.#limits(), snapshot.id, systemClock.now(), { replaces })
      snapshots.begin(snapshot)
      await agenda.notLaterThan(systemClock.now() + pendingMs)
    })
  }

  keepSnapshot(id: string, sizeBytes: number): Promise<Outcome<Snapshot>> {
    return outcome('keep a snapshot', () => {
      const kept = this.#opened().snapshots.keep(id, sizeBytes)
      if (kept === undefined) throw new AppError('conflict', 'cannot keep the snapshot: it was given up meanwhile')
      return kept
    })
  }

  async dropSnapshot(id: string): Promise<void> {
    this.#find()?.snapshots.remove(id)
  }

  async snapshots(region: string): Promise<Snapshot[]> {
    return this.#find()?.snapshots.list(region) ?? []
  }

  snapshot(region: string, id: string): Promise<Outcome<Snapshot>> {
    return outcome('find a snapshot', () => findSnapshot(this.#find()?.snapshots, region, id))
  }

  deleteSnapshot(region: string, id: string): Promise<Outcome<void>> {
    return outcome('delete a snapshot', () => deleteSnapshot(this.#find()?.snapshots, objectsOf(this.env), region, id))
  }

  beginImage(entry: ImageEntry): Promise<Outcome<void>> {
    return outcome('begin an image', async () => {
      const tables = this.#opened()
      const begin = () => this.#note(tables, beginImage(tables, this.#limits(), entry, systemClock.now()))
      this.ctx.storage.transactionSync(begin)
      await this.#dropSoon(tables)
    })
  }

  tellImage(entry: ImageEntry): Promise<Outcome<boolean>> {
    return outcome('take an image', async () => {
      const tables = this.#opened()
      const isKnown = this.ctx.storage.transactionSync(() => {
        const dropped = tellImage(tables, entry)
        if (dropped !== undefined) this.#note(tables, dropped)
        return dropped !== undefined
      })
      await this.#dropSoon(tables)
      await this.#sweepSoon(tables)
      return isKnown
    })
  }

  async images(region: string): Promise<ImageRecord[]> {
    return this.#find()?.images.list(region) ?? []
  }

  image(region: string, named: string): Promise<Outcome<ImageRecord>> {
    return outcome('find an image', () => findImage(this.#find()?.images, region, named).record)
  }

  deleteImage(region: string, named: string): Promise<Outcome<ImageRecord>> {
    return outcome('delete an image', async () => {
      const tables = this.#find()
      const { id } = findImage(tables?.images, region, named)
      const opened = this.#opened()
      const record = this.ctx.storage.transactionSync(() => {
        this.#note(opened, { images: [id] })
        return deleteImage(opened, region, named)
      })
      await this.#dropSoon(opened)
      await this.#sweepSoon(opened)
      return record
    })
  }

  /** Their objects are to be told. */
  #note({ images }: Tables, dropped: Dropped): void {
    for (const id of dropped.images) images.drop(id, systemClock.now())
  }

  /** They are told now, and by the alarm again where that fails. */
  async #dropSoon({ images, agenda }: Tables): Promise<void> {
    if (images.drops().length === 0) return
    await agenda.notLaterThan(systemClock.now() + dropAgainMs)
    this.ctx.waitUntil(this.#tellDrops(images))
  }

  #tellDrops(images: ImageTable): Promise<void> {
    return tellDrops(images, objectsOf(this.env), this.ctx.storage.kv.get<Account>('account')?.id ?? '')
  }

  /** What images were made of goes from its runner as soon as may be. */
  async #sweepSoon({ snapshots, agenda }: Tables): Promise<void> {
    const [oldest] = snapshots.pending()
    if (oldest !== undefined) await agenda.notLaterThan(Math.max(systemClock.now(), oldest.createdAt + pendingMs))
  }

  /** Sends what webhooks are to be told, and looks after snapshots and sandboxes of which nobody knows how they are. */
  override async alarm(): Promise<void> {
    await this.#find()?.agenda.run()
  }

  /** An account that was opened before there were limits has none. */
  #limits(): AccountLimits {
    return { ...noLimits, ...this.ctx.storage.kv.get<AccountLimits>('limits') }
  }

  #jobs({
    outbox,
    sandboxes,
    snapshots,
    images,
  }: Pick<Tables, 'outbox' | 'sandboxes' | 'snapshots' | 'images'>): Job[] {
    const objects = objectsOf(this.env)
    const account = this.ctx.storage.kv.get<Account>('account')?.id ?? ''
    const later = (at: number | undefined, ms: number) => (at === undefined ? undefined : at + ms)
    return [
      { name: 'tell webhooks', next: () => outbox.nextAt(), run: () => outbox.send(), restMs: 0 },
      {
        name: 'sweep snapshots',
        next: () => later(snapshots.pending()[0]?.createdAt, pendingMs),
        run: () => sweepSnapshots(snapshots, objects, systemClock),
        restMs: pendingMs,
      },
      {
        name: 'tell dropped images',
        next: () => later(images.drops()[0]?.since, dropAgainMs),
        run: () => this.#tellDrops(images),
        restMs: dropAgainMs,
      },
      {
        name: 'check the index',
        next: () => later(sandboxes.oldestCheck(), silentMs),
        run: () => recheck(sandboxes, objects, account, systemClock),
        restMs: 60_000,
      },
    ]
  }

  #opened(): Tables {
    const tables = this.#find()
    if (tables === undefined) throw new AppError('not_found', 'cannot find the account: there is none with this id')
    return tables
  }

  #find(): Tables | undefined {
    if (this.#tables !== undefined) return this.#tables
    if (this.ctx.storage.kv.get('account') === undefined) return undefined
    migrate(this.ctx.storage, accountSchema)
    const sql = this.ctx.storage.sql
    const webhooks = new WebhookTable(sql)
    const deliveries = new DeliveryTable(sql)
    const sandboxes = new SandboxIndex(sql)
    const snapshots = new SnapshotTable(sql)
    const images = new ImageTable(sql)
    const outbox = new Outbox({ webhooks, deliveries, clock: systemClock, rates: ratesOf(this.env) })
    this.#tables = {
      ...{ webhooks, deliveries, outbox, sandboxes, snapshots, images },
      agenda: new Agenda(this.ctx.storage, systemClock, this.#jobs({ outbox, sandboxes, snapshots, images })),
      keys: new KeyTable(sql),
      machines: new MachineTable(sql),
      calls: new IdempotencyTable(sql),
    }
    return this.#tables
  }
}
