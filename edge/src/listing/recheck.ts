/**
 * The account's side of keeping its index right. A sandbox's own object tells the index of every change, and its alarm tells again what
 * did not get through. What that leaves open is an alarm that the platform gave up, after the object's code failed several times in a row:
 * nobody would ever tell. So sandboxes that are not over are asked after an hour of silence, some at a time.
 */

import type { Clock } from '@portico/shared/clock'
import { logFailure } from '../log.ts'
import { unwrap } from '../outcome.ts'
import { fromPlatform, reach } from '../platform-errors.ts'
import type { Objects } from '../ports.ts'
import type { SandboxIndex } from '../store/sandbox-index.ts'

export const silentMs = 3_600_000
const atOnce = 20

/** Has the sandboxes that were silent the longest tell anew what the index may have missed; one that there is not any more is taken out. */
export async function recheck(index: SandboxIndex, objects: Objects, account: string, clock: Clock): Promise<void> {
  const due = index.unchecked(clock.now() - silentMs, atOnce)
  for (const { id } of due) index.checked(id, clock.now())
  await Promise.all(
    due.map(async ({ id, version }) => {
      try {
        const told = objects.sandbox(id).retell(account, version)
        if (!unwrap(await reach('check the index', told))) index.forget(id)
      } catch (thrown) {
        logFailure('check the index', fromPlatform(thrown, 'check the index'))
      }
    }),
  )
}
