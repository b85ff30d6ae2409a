/** `/proc/PID/pagemap`: one 64-bit entry per page. The kernel's "pagemap from the userspace perspective" says what the bits mean. */

import type { PageRun } from './page-set.ts'

export const bytesPerEntry = 8

/** In the upper half of an entry. */
const present = 2 ** 31
const swapped = 2 ** 30
/** Of a file or shared: in a private mapping, a page that was never written. */
const ofFile = 2 ** 29

/** Collects the pages that are a process's own from the entries of a private mapping. */
export class RunCollector {
  readonly #runs: PageRun[] = []
  #page = 0
  #first = -1

  /** The next entries, each as two words of which the lower comes first. */
  add(words: Uint32Array): void {
    for (let at = 1; at < words.length; at += 2, this.#page++) {
      const high = words[at] as number
      const own = high >= present ? (high & ofFile) === 0 : (high & swapped) !== 0
      if (own) {
        if (this.#first < 0) this.#first = this.#page
      } else if (this.#first >= 0) this.#close()
    }
  }

  end(): PageRun[] {
    if (this.#first >= 0) this.#close()
    return this.#runs
  }

  #close(): void {
    this.#runs.push({ first: this.#first, count: this.#page - this.#first })
    this.#first = -1
  }
}
