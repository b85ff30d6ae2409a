/** Pages of an account's sandboxes and of its history, read off its index alone. */

import type { History, HistoryItem, RunList } from '@portico/shared/api'
import { costCents } from '@portico/shared/usage'
import type { HistoryInput, ListInput } from '../ports.ts'
import type { Rates } from '../rates.ts'
import type { Over, SandboxIndex } from '../store/sandbox-index.ts'
import { cursorOf, placeOf } from './cursor.ts'

/** The most on one page, and how many come to whoever does not say. */
const mostListed = 1000
const usualHistory = 100

/** Sandboxes that are not over, newest first. */
export function listPage(index: SandboxIndex | undefined, input: ListInput): RunList {
  const { region, states, name, labels, limit = mostListed } = input
  const after = placeOf(input.cursor)
  const found = index?.list({ region, states, name, labels, after, limit: limit + 1 }) ?? []
  const page = found.slice(0, limit)
  const last = page.at(-1)
  const runs = page.map(({ record }) => record)
  return found.length > limit && last !== undefined ? { runs, next_cursor: cursorOf(last.place) } : { runs }
}

/** Sandboxes that are over and ever ran, newest end first. */
export function historyPage(index: SandboxIndex | undefined, input: HistoryInput, rates: Rates): History {
  const { region, limit = usualHistory } = input
  const found = index?.over(region, limit + 1, placeOf(input.cursor)) ?? []
  const page = found.slice(0, limit)
  const last = page.at(-1)
  const sandboxes = page.map((over) => historyItem(over, rates))
  if (found.length <= limit || last === undefined) return { sandboxes }
  return { sandboxes, next_cursor: cursorOf({ at: last.endedAt, id: last.record.id }) }
}

function historyItem({ record, endedAt, usage }: Over, rates: Rates): HistoryItem {
  const { id, status, reason, name, image, vcpus, mem_mib, region, create_ms, created_at } = record
  const { uptime_ms, cpu_ms, mem_peak_bytes } = usage
  return {
    id,
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(name === undefined ? {} : { name }),
    ...{ image, vcpus, mem_mib, region, create_ms, created_at },
    destroyed_at: new Date(endedAt).toISOString(),
    ...{ uptime_ms, cpu_ms, mem_peak_bytes },
    cost_cents: costCents(uptime_ms, vcpus, mem_mib, rates),
  }
}
