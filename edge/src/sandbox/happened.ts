/** What a change of a sandbox's record means to others: events for its account's webhooks, and lines of its audit log. Pure. */

import type { WebhookEvent } from '@portico/shared/api'
import { isFinal } from '@portico/shared/lifecycle'
import type { AuditNote } from '../ports.ts'
import { neverRan, type SandboxRecord } from './record.ts'

/** The events between two records, in order. Before the first record there is none, and before the first runner it is nobody's business. */
export function happened(before: SandboxRecord | undefined, now: SandboxRecord): WebhookEvent[] {
  if (now.generation === 0) return []
  const events: WebhookEvent[] = []
  if ((before?.generation ?? 0) === 0) events.push('sandbox.created')
  if (before === undefined) return events
  const reach = reached(before, now)
  const moved = before.state === now.state ? undefined : move(before, now)
  if (reach !== undefined) events.push(reach)
  if (moved !== undefined) events.push(moved)
  return events
}

function reached(before: SandboxRecord, now: SandboxRecord): WebhookEvent | undefined {
  if (isFinal(now.state) || now.state === 'error') return undefined
  if (before.unreachableSince === null && now.unreachableSince !== null) return 'sandbox.unreachable'
  if (before.unreachableSince !== null && now.unreachableSince === null) return 'sandbox.reachable'
  return undefined
}

function move(before: SandboxRecord, now: SandboxRecord): WebhookEvent | undefined {
  switch (now.state) {
    case 'running':
      if (before.state === 'creating') return 'sandbox.running'
      // One that could not be saved has run all along.
      return before.state === 'hibernating' ? undefined : 'sandbox.resumed'
    case 'hibernated':
      // One that could not be woken has slept all along.
      return before.state === 'resuming' ? undefined : 'sandbox.hibernated'
    case 'error':
      return 'sandbox.failed'
    case 'destroyed':
      return neverRan(now) && now.reason !== null ? 'sandbox.failed' : 'sandbox.destroyed'
    case 'lost':
      return 'sandbox.lost'
    default:
      return undefined
  }
}

/** The lines that these events add to the audit log. */
export function auditNotes(events: readonly WebhookEvent[], record: SandboxRecord, at: number): AuditNote[] {
  return events.flatMap((event) => {
    const data = dataOf(event, record)
    if (event !== 'sandbox.running') return [{ event, at, data }]
    return record.restoredFrom === null ? [] : [{ event: 'sandbox.restored', at, data }]
  })
}

function dataOf(event: WebhookEvent, record: SandboxRecord): AuditNote['data'] {
  const { spec, reason, usage, forkedFrom, restoredFrom } = record
  switch (event) {
    case 'sandbox.created':
      return {
        image: spec.image,
        vcpus: spec.vcpus,
        mem_mib: spec.mem_mib,
        ...(forkedFrom === null ? {} : { forked_from: forkedFrom }),
      }
    case 'sandbox.running':
      return { snapshot_id: restoredFrom }
    case 'sandbox.destroyed':
    case 'sandbox.lost':
      return { ...(reason === null ? {} : { reason }), usage }
    case 'sandbox.failed':
      return { reason }
    default:
      return {}
  }
}
