/** Many calls, some at a time, so that none waits behind all the others and no object meets all of them together. */

const most = 20

/** Runs `work` for each; what one throws ends none of the others, and the first is thrown at the end. */
export async function forEachAtOnce<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  let failed: { readonly thrown: unknown } | undefined
  for (let at = 0; at < items.length; at += most) {
    const ends = await Promise.allSettled(items.slice(at, at + most).map(work))
    for (const end of ends) if (end.status === 'rejected') failed ??= { thrown: end.reason }
  }
  if (failed !== undefined) throw failed.thrown
}
