/** One act on each of several things: all at once; prints the ids of those it worked for, and tells of the others. */

import { failed } from '../exit-codes.ts'
import { lines } from '../output/failure.ts'
import type { Session } from '../session.ts'

/** `doing` is what a person reads meanwhile; with `json` what the acts answered is printed instead of ids. */
export async function each<Done extends { readonly id: string }>(
  session: Session,
  ids: readonly string[],
  { doing, json }: { readonly doing: string; readonly json?: boolean | undefined },
  act: (id: string) => Promise<Done>,
): Promise<void> {
  await session.progress.begin(`${doing} ${ids.length === 1 ? ids[0] : `${ids.length} of them`}`)
  const ends = await Promise.allSettled(ids.map(act))
  await session.progress.clear()
  session.signal.throwIfAborted()
  const done = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []))
  if (json) await session.terminal.printJson(done)
  else await session.terminal.print(done.map(({ id }) => `${id}\n`).join(''))
  for (const end of ends) {
    if (end.status === 'fulfilled') continue
    session.exitCode = failed
    await session.terminal.complain(lines(end.reason, session.local))
  }
}
