/** Which images go when room is needed: those used least recently, never one that is in use. Pure. */

/** Images that share a file go together or not at all: one of them alone frees nothing. */
export interface Candidate {
  readonly rootfs: string
  readonly bytes: number
  /** When one of them was used last. */
  readonly usedAt: number
  readonly free: boolean
}

/** The file to remove next; undefined if none may go. */
export function leastRecent(candidates: Iterable<Candidate>): Candidate | undefined {
  let found: Candidate | undefined
  for (const candidate of candidates)
    if (candidate.free && (found === undefined || candidate.usedAt < found.usedAt)) found = candidate
  return found
}
