/** Which images go when room is needed: those used least recently, never one that is in use. Pure. */

/** Images that share a file go together or not at all: one of them alone frees nothing. */
export interface Candidate {
  readonly rootfs: string
  readonly bytes: number
  /** When one of them was used last. */
  readonly usedAt: number
  readonly free: boolean
}

/** The files to remove so that at least `bytes` are freed, in order; all that may go if that is not enough. */
export function chooseVictims(candidates: Iterable<Candidate>, bytes: number): string[] {
  const chosen: string[] = []
  let left = bytes
  for (const { rootfs, bytes: size } of [...candidates]
    .filter(({ free }) => free)
    .sort((a, b) => a.usedAt - b.usedAt)) {
    if (left <= 0) break
    chosen.push(rootfs)
    left -= size
  }
  return chosen
}
