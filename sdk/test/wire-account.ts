/** What the wire server keeps of an account: the sandboxes that are over, audit logs, webhooks, and lists in pages. */

import { createHmac } from 'node:crypto'
import {
  type AccountUsage,
  type AuditEntry,
  type DeliveryList,
  type HistoryItem,
  type RunRecord,
  type UsageResponse,
  type Webhook,
  webhookEvents,
  webhookRequest,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { parse, type SeenRequest } from './wire-request.ts'

type Json = readonly [status: number, value: unknown]

export class WireAccount {
  readonly auditKey = 'ab'.repeat(32)
  /** How many records a page holds. */
  pageSize = 1000
  readonly history: HistoryItem[] = []
  readonly audits = new Map<string, AuditEntry[]>()
  readonly webhooks: Webhook[] = []
  deliveries: DeliveryList['deliveries'] = []

  /** JSON, or the lines of an audit log. */
  answer(seen: SeenRequest, active: number): Json | string {
    const [, , resource, id = '', verb] = seen.path.split('/')
    if (resource === 'usage') return [200, this.#usage(active)]
    if (resource === 'audit') return [200, { algorithm: 'HMAC-SHA256', key: this.auditKey }]
    if (resource === 'webhooks') return this.#hook(seen, id, verb)
    if (resource !== 'runs') throw new AppError('not_found', `cannot find ${seen.path}`)
    if (verb === 'audit') return this.#log(id, Number(seen.query.get('from') ?? 0))
    const { runs, next_cursor } = this.page([...this.history].reverse(), seen.query)
    return [200, { sandboxes: runs, next_cursor }]
  }

  /** One page of what a list holds; the cursor is where it goes on. */
  page<Item>(all: readonly Item[], query: URLSearchParams): { runs: readonly Item[]; next_cursor?: string } {
    const begin = Number(query.get('cursor') ?? 0)
    const end = begin + Math.min(this.pageSize, Number(query.get('limit') ?? this.pageSize))
    const runs = all.slice(begin, end)
    return end < all.length ? { runs, next_cursor: String(end) } : { runs }
  }

  /** Adds to a sandbox's audit log. */
  note(sandbox: string, event: string, data: Record<string, string | number>): void {
    const log = this.audits.get(sandbox) ?? []
    this.audits.set(sandbox, log)
    const entry = { seq: log.length, ts: new Date().toISOString(), sandbox_id: sandbox, event, data }
    const before = log.at(-1)?.hmac.slice('sha256:'.length) ?? '0'.repeat(64)
    const hmac = createHmac('sha256', Buffer.from(this.auditKey, 'hex')).update(`${before}\n${written(entry)}`)
    log.push({ ...entry, hmac: `sha256:${hmac.digest('hex')}` })
  }

  /** A sandbox has been destroyed. */
  end(record: RunRecord, { uptime_ms, cpu_ms, mem_peak_bytes, cost_cents }: UsageResponse): void {
    const { id, name, image, vcpus, mem_mib, region, create_ms, created_at } = record
    const about = { id, image, vcpus, mem_mib, region, create_ms, created_at, destroyed_at: new Date().toISOString() }
    const used = { uptime_ms, cpu_ms, mem_peak_bytes, cost_cents }
    this.history.push({ ...about, ...used, status: 'destroyed', ...(name === undefined ? {} : { name }) })
    this.note(id, 'sandbox.destroyed', {})
  }

  #usage(active: number): AccountUsage {
    const cents = this.history.reduce((sum, { cost_cents }) => sum + cost_cents, 0)
    return {
      active_sandboxes: active,
      history_sandboxes: this.history.length,
      active_cost_cents: 1.5,
      history_cost_cents: cents,
      total_cost_cents: 1.5 + cents,
      cpu_seconds: 2.5,
      mem_seconds: 90,
      as_of: '2026-01-02T03:04:05.000Z',
    }
  }

  #log(sandbox: string, from: number): string {
    const log = this.audits.get(sandbox)
    if (!log) throw new AppError('sandbox_not_found', `cannot find sandbox ${sandbox}`)
    return log
      .slice(from)
      .map((entry) => `${JSON.stringify(entry)}\n`)
      .join('')
  }

  #hook(seen: SeenRequest, id: string, verb: string | undefined): Json {
    if (id === '' && seen.method === 'POST') {
      const { url, events = webhookEvents } = parse(webhookRequest, seen)
      const made = {
        id: `hook${this.webhooks.length + 1}`,
        url,
        events: [...events],
        created_at: '2026-01-02T03:04:05.000Z',
      }
      this.webhooks.push(made)
      return [201, { ...made, secret: 'the-secret' }]
    }
    if (id === '') return [200, { webhooks: [...this.webhooks].reverse() }]
    const index = this.webhooks.findIndex((hook) => hook.id === id)
    if (index < 0) throw new AppError('not_found', `cannot find webhook ${id}`)
    if (verb === 'deliveries') return [200, { deliveries: this.deliveries }]
    return [200, seen.method === 'DELETE' ? this.webhooks.splice(index, 1)[0] : this.webhooks[index]]
  }
}

/** As RFC 8785 writes an object of such simple values. */
function written(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${written(member)}`).join(',')}}`
}
