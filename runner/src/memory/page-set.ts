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
  /** Whether the content is in this process: its chunks stay as they are until `release`, and each begins at a page. */
  readonly inMemory?: boolean
  /** Gives content in this process back; `chunks` must not be asked for any more. */
  release(): void
}

/** No pages at all. */
export const noPages: PageSet = {
  runs: [],
  bytes: 0,
  async *chunks() {
    // Nothing.
  },
  release() {
    // Nothing.
  },
}

export function totalPages(runs: readonly PageRun[]): number {
  return runs.reduce((sum, { count }) => sum + count, 0)
}

/** Pages whose content is being read before anybody has asked for it. */
export interface EarlyPages extends PageSet {
  /** Ends the reading. Safe at any time, and to repeat. */
  end(): Promise<void>
}

/** Begins to read at once; the content can be taken once. */
export function readEarly(pages: PageSet): EarlyPages {
  const chunks = pages.chunks()[Symbol.asyncIterator]()
  const first = chunks.next()
  first.catch(() => undefined)
  const end = async () => {
    await first.catch(() => undefined)
    await chunks.return?.()
  }
  return {
    runs: pages.runs,
    bytes: pages.bytes,
    async *chunks() {
      try {
        for (let next = await first; !next.done; next = await chunks.next()) yield next.value
      } finally {
        await end()
      }
    },
    release: () => undefined,
    end,
  }
}
