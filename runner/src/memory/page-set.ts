/**
 * Pages of a guest's memory that differ from its base: where they belong, and their content. Content may be in this process or in a file; whoever reads
 * it does not see which.
 */

export const pageBytes = 4096

/** Pages without a gap between them, as numbers of pages from the start of the guest's memory. */
export interface PageRun {
  readonly first: number
  readonly count: number
}

export interface PageSet {
  /** In ascending order, never touching each other. */
  readonly runs: readonly PageRun[]
  /** Content in bytes: the sum of the counts × `pageBytes`. */
  readonly bytes: number
  /** Where the content is, if it is in a file: in the order of the runs, without gaps. */
  readonly file?: { readonly file: string; readonly bytes: number; readonly sha256?: string }
  /**
   * The content in order, in chunks of whole pages; every chunk but the last has `chunkBytes` of the digest. A file that is too short rejects.
   * A chunk's memory is the reader's until it asks for the next one.
   */
  chunks(): AsyncIterable<Uint8Array>
}

/** No pages at all. */
export const noPages: PageSet = {
  runs: [],
  bytes: 0,
  async *chunks() {
    // Nothing.
  },
}

export function totalPages(runs: readonly PageRun[]): number {
  return runs.reduce((sum, { count }) => sum + count, 0)
}
