/** An account's webhooks. The secret is kept as it is: deliveries are signed with it. */

import type { Webhook, WebhookEvent } from '@portico/shared/api'
import type { NewWebhook } from '../ports.ts'
import { statement } from './sql.ts'

type WebhookRow = { id: string; url: string; events: string; secret: string; created_at: number }

export class WebhookTable {
  readonly #insert
  readonly #list
  readonly #get
  readonly #remove

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [string, string, string, string, number]>(
      sql,
      'INSERT INTO webhooks (id, url, events, secret, created_at) VALUES (?, ?, ?, ?, ?)',
    )
    this.#list = statement<WebhookRow>(sql, 'SELECT * FROM webhooks ORDER BY created_at, id')
    this.#get = statement<WebhookRow, [string]>(sql, 'SELECT * FROM webhooks WHERE id = ?')
    this.#remove = statement<never, [string]>(sql, 'DELETE FROM webhooks WHERE id = ?')
  }

  add({ id, url, events, secret, createdAt }: NewWebhook): void {
    this.#insert.run(id, url, JSON.stringify(events), secret, createdAt)
  }

  /** Oldest first. */
  list(): NewWebhook[] {
    return this.#list.all().map(webhookOf)
  }

  get(id: string): NewWebhook | undefined {
    const row = this.#get.first(id)
    return row === undefined ? undefined : webhookOf(row)
  }

  remove(id: string): void {
    this.#remove.run(id)
  }
}

/** A webhook as the API shows it: without its secret. */
export function publicWebhook({ id, url, events, createdAt }: NewWebhook): Webhook {
  return { id, url, events: [...events], created_at: new Date(createdAt).toISOString() }
}

function webhookOf({ id, url, events, secret, created_at }: WebhookRow): NewWebhook {
  return { id, url, events: JSON.parse(events) as WebhookEvent[], secret, createdAt: created_at }
}
