/** What goes on after nobody waits for it: whoever closes the client waits for all of it. It has nobody to tell of a failure. */

export type Background = Set<Promise<void>>

/** Remembers something until it is done. */
export function later(background: Background, work: Promise<unknown>): void {
  const done: Promise<void> = work
    .then(
      () => undefined,
      () => undefined,
    )
    .finally(() => background.delete(done))
  background.add(done)
}
