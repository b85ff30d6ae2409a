/** `sandbox::list`: the account's sandboxes that can be used, whichever surface made them, and those that are ending. */

import type { RunRecord, RunStatus } from '@portico/shared/api'
import { parseSandboxId, uuidOf } from '@portico/shared/ids'
import { z } from 'zod'
import { unwrap } from '../../outcome.ts'
import { reach } from '../../platform-errors.ts'
import type { InvocationContext } from '../context.ts'
import { iiiFunction } from '../functions.ts'

const states: readonly RunStatus[] = ['running', 'resuming', 'unreachable', 'destroyed', 'error']
const ending: readonly RunStatus[] = ['destroyed', 'error']
const pageOf = 1000

export const list = iiiFunction({
  id: 'sandbox::list',
  needs: 'read',
  schema: z.object({}),
  async handle(_payload, context) {
    const now = context.services.clock.now()
    return { sandboxes: (await all(context)).flatMap((record) => shown(record, now, context)) }
  },
})

async function all({ objects, principal }: InvocationContext): Promise<RunRecord[]> {
  const runs: RunRecord[] = []
  let cursor: string | undefined
  do {
    const input = { region: principal.region, states, limit: pageOf, ...(cursor === undefined ? {} : { cursor }) }
    const page = unwrap(await reach('list sandboxes', objects.account(principal.account).list(input)))
    runs.push(...page.runs)
    cursor = page.next_cursor
  } while (cursor !== undefined)
  return runs
}

function shown({ id: text, name, image, created_at, status }: RunRecord, now: number, { locks }: InvocationContext) {
  const id = parseSandboxId(text)
  if (id === undefined) return []
  return [
    {
      sandbox_id: uuidOf(id),
      name: name ?? null,
      image,
      age_secs: Math.max(0, Math.floor((now - Date.parse(created_at)) / 1000)),
      exec_in_progress: locks.has(id),
      stopped: ending.includes(status),
    },
  ]
}
