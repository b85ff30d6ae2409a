/**
 * A sandbox whose runner has been away for too long. Its state stays what was last confirmed, with the time since when nobody can know
 * it: it counts as running until its runner says otherwise. The runner's next word of it ends that.
 */

import type { SandboxState } from '@portico/shared/lifecycle'
import type { Life } from './life.ts'

/** Whether there is something of it that could be used. A create or a destroy that is under way finds out by itself. */
export function isOnRunner(state: SandboxState): boolean {
  return onRunner.includes(state)
}

const onRunner: readonly SandboxState[] = ['running', 'hibernating', 'hibernated', 'resuming']

/** Its runner has been away since then. */
export async function markUnreachable(life: Life, runner: string, generation: number, since: number): Promise<void> {
  const { record } = life
  if (record === undefined || !life.holds({ runner, generation })) return
  if (isOnRunner(record.state) && record.unreachableSince === null) life.change({ unreachableSince: since })
  await life.publish()
}

/** Its runner has spoken of it. */
export function markReachable(life: Life): void {
  if (life.known.unreachableSince !== null) life.change({ unreachableSince: null })
}
