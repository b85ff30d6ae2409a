/**
 * An account's snapshots after they were taken: found, deleted, and swept. A snapshot is noted before its runner hears of it, so none is
 * ever on a runner without a row here; a row that never became a snapshot is swept from the runner first and forgotten then.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import type { CallOutcome, Objects, Snapshot } from '../ports.ts'
import { asked } from '../sandbox/asked.ts'
import type { SnapshotTable } from '../store/snapshots.ts'

/** Longer than anything that may still make a snapshot of a row. */
export const pendingMs = 600_000
/** What one sweep asks runners about; the next goes on. */
const mostAtOnce = 50

/** The account's snapshot in this region. */
export function findSnapshot(table: SnapshotTable | undefined, region: string, id: string): Snapshot {
  const found = table?.get(id)
  if (found === undefined || found.region !== region || found.image !== undefined) throw snapshotNotFound()
  return found
}

/** Has its runner delete it, and forgets it once it is gone there. */
export async function deleteSnapshot(
  table: SnapshotTable | undefined,
  objects: Objects,
  region: string,
  id: string,
): Promise<void> {
  const { runner } = findSnapshot(table, region, id)
  const answer = await deleteOnRunner(objects, runner, id)
  if (!isDeleted(answer)) throw answer.ok ? snapshotNotFound() : AppError.fromWire(answer.error)
  table?.remove(id)
}

/** Removes what never became a snapshot. A runner that cannot be asked is asked again by the next sweep. */
export async function sweepSnapshots(table: SnapshotTable, objects: Objects, clock: Clock): Promise<void> {
  const due = table.pending().filter(({ createdAt }) => clock.now() - createdAt >= pendingMs)
  for (const { id, runner } of due.slice(0, mostAtOnce)) {
    if (isDeleted(await deleteOnRunner(objects, runner, id))) table.remove(id)
  }
}

export function snapshotNotFound(): AppError {
  return new AppError('snapshot_not_found', 'cannot find the snapshot: there is none with this id')
}

function deleteOnRunner(objects: Objects, runner: string, id: string): Promise<CallOutcome<null>> {
  return asked('delete the snapshot', objects.runner(runner).deleteSnapshot(id))
}

function isDeleted(answer: CallOutcome<null>): boolean {
  return answer.ok || (answer.reached === 'answered' && answer.error.code === 'snapshot_not_found')
}
