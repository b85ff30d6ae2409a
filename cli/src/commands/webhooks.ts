/** `portico webhooks [list]`, `add URL`, `remove ID…` and `deliveries ID`: who is told of what happens to sandboxes. */

import type { WebhookDelivery, WebhookInfo } from '@portico/sdk'
import type { Command } from 'commander'
import { table } from '../output/table.ts'
import { age } from '../output/time.ts'
import type { Session } from '../session.ts'
import { each } from './each.ts'

interface ListOptions {
  readonly json?: boolean
  readonly quiet?: boolean
}

interface AddOptions {
  readonly event?: readonly string[]
  readonly json?: boolean
}

const heading = ['ID', 'URL', 'EVENTS', 'AGE']
/** More events than this are told as their number. */
const most = 3
const deliveryHeading = ['ID', 'EVENT', 'SANDBOX', 'STATE', 'ATTEMPTS', 'LAST', 'AGE']

export function define(command: Command, session: Session): void {
  const webhooks = command.helpCommand(false)
  addList(webhooks, session)
  addAdd(webhooks, session)
  addRemove(webhooks, session)
  addDeliveries(webhooks, session)
}

function addList(webhooks: Command, session: Session): void {
  webhooks
    .command('list', { isDefault: true })
    .usage('[options]')
    .alias('ls')
    .description('list who is told')
    .option('-q, --quiet', 'print ids alone')
    .option('--json', 'print one line of JSON')
    .action(async ({ json, quiet }: ListOptions) => {
      await using portico = await session.connect()
      const found = await portico.webhooks.list({ signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else if (quiet) await session.terminal.print(found.map(({ id }) => `${id}\n`).join(''))
      else await session.terminal.print(table(heading, found.map(row)))
    })
}

function addAdd(webhooks: Command, session: Session): void {
  webhooks
    .command('add <url>')
    .usage('[options] URL')
    .description('tell a URL from now on; prints its id and, this once, its secret')
    .option('--event <event>', 'only this, such as sandbox.created; repeatable', collect)
    .option('--json', 'print one line of JSON')
    .action(async (url: string, { event: events, json }: AddOptions) => {
      await using portico = await session.connect()
      const made = await portico.webhooks.create({ url, events, signal: session.signal })
      if (json) await session.terminal.printJson(made)
      else await session.terminal.print(`${made.id} ${made.secret}\n`)
    })
}

function addRemove(webhooks: Command, session: Session): void {
  webhooks
    .command('remove <id...>')
    .alias('rm')
    .usage('[options] ID…')
    .description('tell them no more')
    .option('--json', 'print one line of JSON')
    .action(async (ids: string[], { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      await each(session, ids, { doing: 'removing', json }, async (id) => {
        await portico.webhooks.delete(id, { signal: session.signal })
        return { id }
      })
    })
}

function addDeliveries(webhooks: Command, session: Session): void {
  webhooks
    .command('deliveries <id>')
    .usage('[options] ID')
    .description('list what one was told lately, and how that went')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      const found = await portico.webhooks.deliveries(id, { signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else await session.terminal.print(table(deliveryHeading, found.map(deliveryRow)))
    })
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

function row({ id, url, events, createdAt }: WebhookInfo): string[] {
  return [id, url, events.length <= most ? events.join(',') : `${events.length} events`, age(createdAt)]
}

function deliveryRow(delivery: WebhookDelivery): string[] {
  const { id, event, sandboxId, state, attempts, lastStatus, lastError, createdAt } = delivery
  const last = lastError ?? (lastStatus === null ? '-' : String(lastStatus))
  return [id, event, sandboxId, state, String(attempts), last, age(createdAt)]
}
